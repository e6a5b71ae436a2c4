"""Worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from pipelines import fork_server
from pipelines.crew import WorkerDiedError, WorkerFailedError
from pipelines.stage import Stage
from pipelines.work import Result, StageWorkers, WorkItem
from x2i.store.remote import dataset_path

_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(eq=False)
class _Member:
    process: Any
    pipe: connection.Connection


class ProcessCrew:
    """A `Crew` of forked processes. They end when this process does, whatever ends it."""

    def __init__(self, root: Path, stages: Mapping[str, Stage]) -> None:
        fork_server.start()
        self._arguments = str(root), pickle.dumps(dict(stages))

    def hire(self) -> _Member:
        pipe, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(theirs, *self._arguments), name="x2i-worker", daemon=True)
        process.start()
        theirs.close()
        return _Member(process, pipe)

    def give(self, member: _Member, item: WorkItem) -> None:
        try:
            member.pipe.send(item.as_json())
        except OSError:
            return  # it has died: `wait` finds its pipe closed, and `take` says so

    def wait(self, members: Sequence[_Member]) -> _Member:
        ready = connection.wait([member.pipe for member in members])
        return next(member for member in members if member.pipe in ready)

    def take(self, member: _Member) -> Result:
        try:
            answer = member.pipe.recv()
        except (EOFError, OSError) as error:
            self.dismiss(member)
            raise WorkerDiedError from error
        if isinstance(answer, str):
            return Result.from_json(answer)
        raise WorkerFailedError(*answer)

    def dismiss(self, member: _Member) -> None:
        member.pipe.close()
        member.process.kill()
        member.process.join()
        member.process.close()


def _serve(pipe: connection.Connection, root: str, stages: bytes) -> None:
    """What a worker process does: items in, results out, until the other end of the pipe is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    workers = None
    while True:
        try:
            item = WorkItem.from_json(pipe.recv())
        except (EOFError, OSError):
            return
        try:
            workers = workers or StageWorkers(dataset_path(root), pickle.loads(stages))
            answer: object = workers.run(item).as_json()
        except Exception as error:  # noqa: BLE001  it becomes the failure record of the partition
            answer = f"{type(error).__name__}: {error}", traceback.format_exc()
        pipe.send(answer)


def _end_with_parent() -> None:
    """Without this, a worker whose parent was killed would go on to the end of its partition."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
