"""Sharing work items out to worker processes, whoever starts these: one item each at a time, the dead replaced."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pipelines.engine.partition import OnResult, Result, WorkItem, failed_item

TRIES = 3
Member = TypeVar("Member")


class WorkerDiedError(Exception):
    """A worker process ended before it had a result."""


class WorkerFailedError(Exception):
    """A worker process lives, but could not run its item. trace: what Python says of it."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class Crew(Protocol, Generic[Member]):
    """Worker processes, each of which runs one item at a time."""

    def hire(self) -> Member:
        """Starts a worker process."""
        ...

    def give(self, member: Member, item: WorkItem) -> None:
        """Sends `item` to an idle worker."""
        ...

    def wait(self, members: Sequence[Member]) -> Member:
        """Returns one of these busy workers that has a result or has died."""
        ...

    def take(self, member: Member) -> Result:
        """Returns the result of a worker that `wait` gave. Raises WorkerDiedError or WorkerFailedError."""
        ...

    def dismiss(self, member: Member) -> None:
        """Ends a worker at once, whatever it is doing."""
        ...


def share_out(crew: Crew[Member], size: int, root: Path, items: Sequence[WorkItem], on_result: OnResult) -> None:
    """Runs `items`, in their order, on `size` workers of `crew`.

    An item whose worker dies is tried again, in a fresh process, and in the end costs itself alone.
    """
    waiting, tries = deque(items), Counter[tuple[str, str]]()
    idle: list[Member] = []
    busy: list[tuple[Member, WorkItem]] = []
    try:
        for _ in range(min(size, len(items))):
            idle.append(crew.hire())
        while waiting or busy:
            while waiting and idle:
                busy.append((idle.pop(), waiting.popleft()))
                crew.give(*busy[-1])
            finished = crew.wait([member for member, _ in busy])
            member, item = busy.pop(next(number for number, (one, _) in enumerate(busy) if one is finished))
            try:
                result = crew.take(member)
            except WorkerDiedError:
                idle.append(crew.hire())
                tries[item.stage, item.entry.id] += 1
                if tries[item.stage, item.entry.id] < TRIES:
                    waiting.append(item)
                    continue
                result = failed_item(root, item, f"the worker process died {TRIES} times on this partition")
            except WorkerFailedError as error:
                idle.append(member)
                result = failed_item(root, item, str(error), error.trace)
            else:
                idle.append(member)
            on_result(result)
    finally:
        for member in (*idle, *(member for member, _ in busy)):
            crew.dismiss(member)
