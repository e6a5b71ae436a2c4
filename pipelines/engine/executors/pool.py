"""Runs batches of work items on a pool of workers of any kind: one each at a time, workers that die are replaced."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from pipelines.engine.partition import Batch, OnResult, Result
from x2i.errors import RunError
from x2i.store.commits import Counts

TRIES = 3
"""How often an item is run whose worker dies, and how many workers may die in a row before they are ready."""


class WorkerDiedError(Exception):
    """A worker process ended before it had a result."""


class Worker(Protocol):
    """A process that runs one batch at a time."""

    def submit(self, batch: Batch) -> None:
        """Sends `batch` to the worker, which must be idle."""
        ...

    def result(self) -> list[Result] | None:
        """Returns the results of the batch, or None if it was just started and says that it is ready.

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


def run_batches(pool: WorkerPool[AnyWorker], size: int, batches: Sequence[Batch], on_result: OnResult) -> None:
    """Runs `batches`, in their order, on `size` workers, and calls `on_result` with each result.

    The items of a batch whose worker dies are tried again at the end, each alone, in another worker; an item fails
    after TRIES deaths. Batches are given only to workers that are ready, so that none waits for a worker which a busy
    cluster cannot place yet. Raises RunError if no worker becomes ready.
    """
    waiting, deaths, failed_starts = deque[Batch](batches), Counter[tuple[str, str]](), 0
    idle: list[AnyWorker] = []
    running: dict[AnyWorker, Batch | None] = {}  # None: it was just started
    try:
        for _ in range(min(size, len(batches))):
            running[pool.start()] = None
        while waiting or any(running.values()):
            while waiting and idle:
                worker, next_batch = idle.pop(), waiting.popleft()
                running[worker] = next_batch
                worker.submit(next_batch)
            worker = pool.wait(list(running))
            batch = running.pop(worker)
            try:
                results = worker.result()
            except WorkerDiedError as error:
                pool.kill(worker)
                if batch is None:
                    failed_starts += 1
                    if failed_starts == TRIES:
                        raise RunError(f"no worker process starts ({error}): --executor inline needs none") from error
                for item in batch or ():
                    name = item.stage, item.entry.id
                    deaths[name] += 1
                    if deaths[name] < TRIES:
                        waiting.append((item,))
                    else:
                        on_result(Result(*name, Counts(), f"the worker process died {TRIES} times on this partition"))
                running[pool.start()] = None
            else:
                idle.append(worker)
                failed_starts = 0
                for result in results or ():
                    on_result(result)
    finally:
        for worker in (*idle, *running):
            pool.kill(worker)
