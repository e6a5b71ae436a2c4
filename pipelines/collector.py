"""How often Python looks for objects that only hold each other: seldom, in processes that make few of them."""

from __future__ import annotations

import gc

_THRESHOLDS = (50_000, 20, 50)


def collect_seldom() -> None:
    """Leaves nearly all freeing to reference counts, and never looks again at what is there the first time.

    Importing a command makes some hundred thousand objects that stay, and a request hundreds that go by counting:
    looking for cycles among them as often as Python does by default takes an eighth of the time of a crawl.
    """
    if not gc.get_freeze_count():  # what is frozen is never freed: only what a process begins with may be
        gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
