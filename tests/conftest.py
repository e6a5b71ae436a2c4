"""Fixtures of general use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hostile_server import HostileServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, or at the end one process would wait for the other's last file for minutes."""
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_files)


@pytest.fixture
def hostile_server() -> Iterator[HostileServer]:
    """A server whose sites misbehave as told; see tests/support/hostile_server.py."""
    with HostileServer() as server:
        yield server
