"""Connecting to Ray: a cluster that is there, or one of this machine without helpers that would serve nobody here."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from x2i.errors import UserError

_OBJECT_STORE_BYTES = 80 * 2**20
"""Nothing large goes through the object store: partitions are read from, and written to, the dataset."""
_ANSWER_SECONDS = 10.0
_HELPERS = ("start_monitor", "start_log_monitor", "start_api_server")
"""What Ray's head node starts beside what runs actors: the autoscaler, the copier of logs to the driver, the dashboard
(which comes even with include_dashboard=False). Together about half of the time and of the memory of a start."""


def start_ray(workers: int) -> None:
    """Starts a Ray of this machine, with `workers` processes made ready, and connects to it."""
    import ray

    with _without_native_chatter(), _without_helpers():
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


def connect_ray(address: str) -> None:
    """Connects to a cluster that is there. Raises UserError if none answers; Ray itself would try for minutes."""
    import ray

    host, colon, port = address.rpartition("//")[2].rpartition(":")
    try:
        if colon and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
        with _without_native_chatter():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError) as error:  # ConnectionError among them
        raise UserError(
            f"--address {address}: no Ray cluster answers there ({error}); expected one that runs, such as "
            "ray://head:10001, head:6379 or auto. One that asks for a token, as Ray's do since 2.60, is reached with "
            "RAY_AUTH_MODE=token and the file ~/.ray/auth_token"
        ) from error


@contextmanager
def _without_native_chatter() -> Iterator[None]:
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
