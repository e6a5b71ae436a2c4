"""When memory is freed: seldom, and by what is cheap, in processes that use the same amount of it over and over."""

from __future__ import annotations

import ctypes
import gc
import platform

_THRESHOLDS = (50_000, 20, 50)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST_KEPT = 32 * 1024 * 1024  # the most that glibc takes
_MOST_KEPT = 64 * 1024 * 1024


def collect_seldom() -> None:
    """Leaves nearly all freeing to reference counts, and never looks again at what is there the first time.

    Importing a command makes some hundred thousand objects that stay, and a request hundreds that go by counting:
    looking for cycles among them as often as Python does by default takes an eighth of the time of a crawl.
    """
    if not gc.get_freeze_count():  # what is frozen is never freed: only what a process begins with may be
        gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def keep_freed_memory() -> None:
    """Has the C library keep the memory of one picture for the next, instead of giving it back to the system.

    Otherwise each buffer is new pages every time, and the kernel clears each of them. Buffers over 32 MB are given back
    all the same, and so is what lies free at the end of an arena beyond 64 MB. Does nothing where there is no glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        library.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
