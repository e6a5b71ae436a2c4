"""Runs work items on a pool of workers of any kind: one item each at a time, workers that die are replaced."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from pipelines.engine.partition import OnResult, Result, WorkItem
from x2i.errors import RunError
from x2i.store.commits import Counts

TRIES = 3
"""How often an item is run whose worker dies, and how many workers may die in a row before they are ready."""


class WorkerDiedError(Exception):
    """A worker process ended before it had a result."""


class Worker(Protocol):
    """A process that runs one item at a time."""

    def submit(self, item: WorkItem) -> None:
        """Sends `item` to the worker, which must be idle."""
        ...

    def result(self) -> Result | None:
        """Returns the result of the item, or None if it was just started and says that it is ready.

        Raises WorkerDiedError.
        """
        ...


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class WorkerPool(Protocol, Generic[AnyWorker]):
    """Starts and ends workers."""

    def start(self) -> AnyWorker:
        """Starts a worker. It is not waited for: it says when it is ready."""
        ...

    def wait(self, workers: Sequence[AnyWorker]) -> AnyWorker:
        """Returns one of these workers that is ready, has a result or has died."""
        ...

    def kill(self, worker: AnyWorker) -> None:
        """Ends a worker at once, whatever it is doing."""
        ...


def run_items(pool: WorkerPool[AnyWorker], size: int, items: Sequence[WorkItem], on_result: OnResult) -> None:
    """Runs `items`, in their order, on `size` workers, and calls `on_result` with each result.

    An item whose worker dies is tried again at the end, in another worker, and fails after TRIES deaths. Items are
    given only to workers that are ready, so that none waits for a worker which a busy cluster cannot place yet.
    Raises RunError if no worker becomes ready.
    """
    waiting, deaths, failed_starts = deque(items), Counter[tuple[str, str]](), 0
    idle: list[AnyWorker] = []
    running: dict[AnyWorker, WorkItem | None] = {}  # None: it was just started
    try:
        for _ in range(min(size, len(items))):
            running[pool.start()] = None
        while waiting or any(running.values()):
            while waiting and idle:
                worker, next_item = idle.pop(), waiting.popleft()
                running[worker] = next_item
                worker.submit(next_item)
            worker = pool.wait(list(running))
            item = running.pop(worker)
            try:
                result = worker.result()
            except WorkerDiedError as error:
                pool.kill(worker)
                if item is None:
                    failed_starts += 1
                    if failed_starts == TRIES:
                        raise RunError(f"no worker process starts ({error}): --executor inline needs none") from error
                else:
                    name = item.stage, item.entry.id
                    deaths[name] += 1
                    if deaths[name] < TRIES:
                        waiting.append(item)
                    else:
                        on_result(Result(*name, Counts(), f"the worker process died {TRIES} times on this partition"))
                running[pool.start()] = None
            else:
                idle.append(worker)
                failed_starts = 0
                if result is not None:
                    on_result(result)
    finally:
        for worker in (*idle, *running):
            pool.kill(worker)
