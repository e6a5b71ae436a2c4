"""Fixtures of general use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile_server import HostileServer


@pytest.fixture
def hostile_server() -> Iterator[HostileServer]:
    """A server whose sites misbehave as told; see tests/hostile_server.py."""
    with HostileServer() as server:
        yield server
