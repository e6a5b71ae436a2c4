"""Starting Ray on this machine alone, without the helper processes that would serve nobody here."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECT_STORE_BYTES = 80 * 2**20
"""Nothing large goes through the object store: partitions are read from, and written to, the dataset."""
_HELPERS = ("start_monitor", "start_log_monitor", "start_api_server")
"""What Ray's head node starts beside what runs actors: the autoscaler, the copier of logs to the driver, the dashboard
(which comes even with include_dashboard=False). Together about half of the time and of the memory of a start."""


def start_ray(workers: int) -> None:
    """Starts a Ray of this machine, with `workers` processes made ready, and connects to it."""
    import ray

    with without_native_chatter(), _without_helpers():
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


@contextmanager
def without_native_chatter() -> Iterator[None]:
    """Keeps what Ray's C++ core prints while it starts off the screen; what goes wrong there is raised in Python."""
    sys.stderr.flush()
    screen = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(screen, 2)
        os.close(nowhere)
        os.close(screen)


@contextmanager
def _without_helpers() -> Iterator[None]:
    """Lets a head node start without _HELPERS. Ray has no option for it; one that names them otherwise starts them."""
    from ray._private.node import Node

    found = {name: getattr(Node, name) for name in _HELPERS if hasattr(Node, name)}
    try:
        for name in found:
            setattr(Node, name, _start_nothing)
        yield
    finally:
        for name, method in found.items():
            setattr(Node, name, method)


def _start_nothing(node: object, **options: object) -> None:
    """Stands in for the start of a helper."""
