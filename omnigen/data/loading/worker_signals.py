"""Keeps a request to stop, sent to a whole process group, from ending the workers before their trainer is done.

Ctrl-C reaches every process of the terminal's group, and torchrun passes SIGTERM on to a rank's whole group. The
trainer finishes its step and saves; a worker that died meanwhile would leave it without data. Workers end when their
loader does, or within seconds of their trainer's death.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """Holds SIGINT and SIGTERM back while workers are started: they begin with the mask, until they leave the group."""
    resource_tracker.ensure_running()  # started by the first worker, it would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_process_group(worker: int) -> None:
    """Puts this process, a worker begun under `stop_signals_held`, into a group of its own, where signals end it again.

    What was sent to the old group in the meantime is forgotten.
    """
    os.setpgid(0, 0)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # drops one that waits
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
