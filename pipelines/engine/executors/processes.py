"""Worker processes of this machine: one line of JSON in for each item, one out for its result."""

from __future__ import annotations

import base64
import json
import os
import pickle
import select
import socket
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.engine.executors import fork_server
from pipelines.engine.executors.pool import WorkerDiedError, WorkerFailedError
from pipelines.engine.partition import Result, StageWorkers, WorkItem
from pipelines.engine.stage import Stage
from x2i.store.files.remote import dataset_path


class _Member:
    """A worker process, as its driver sees it: a connection. Closing that ends it at once."""

    def __init__(self, first_line: bytes) -> None:
        self.socket = fork_server.fork_worker()
        self.lines = self.socket.makefile("rb")
        self.send(first_line)

    def send(self, line: bytes) -> None:
        try:
            self.socket.sendall(line + b"\n")
        except OSError:
            return  # it has died: there will be no answer, which says so

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


class ProcessCrew:
    """A `Crew` of forked processes. They end when this process does, whatever ends it."""

    def __init__(self, root: Path, stages: Mapping[str, Stage]) -> None:
        pickled = base64.b64encode(pickle.dumps(dict(stages))).decode()
        self._first_line = json.dumps({"root": str(root), "stages": pickled}).encode()

    def hire(self) -> _Member:
        """Raises UserError if no process can be started."""
        return _Member(self._first_line)

    def give(self, member: _Member, item: WorkItem) -> None:
        member.send(item.as_json().encode())

    def wait(self, members: Sequence[_Member]) -> _Member:
        poll = select.poll()
        by_number = {member.socket.fileno(): member for member in members}
        for number in by_number:
            poll.register(number, select.POLLIN)
        return by_number[poll.poll()[0][0]]

    def take(self, member: _Member) -> Result:
        try:
            line = member.lines.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            member.close()
            raise WorkerDiedError
        kind, *answer = json.loads(line)
        if kind == "failed":
            raise WorkerFailedError(*answer)
        return Result.from_json(*answer)

    def dismiss(self, member: _Member) -> None:
        member.close()


def work(connection: socket.socket) -> None:
    """What a worker process does: items in, results out, until the other end of the connection is closed."""
    threading.Thread(target=_end_with_driver, args=(connection,), daemon=True).start()
    workers = None
    with connection.makefile("rb") as lines:
        start = json.loads(lines.readline())
        for line in lines:
            answer: tuple[str, ...]
            try:
                if workers is None:
                    stages = pickle.loads(base64.b64decode(start["stages"]))
                    workers = StageWorkers(dataset_path(start["root"]), stages)
                answer = "done", workers.run(WorkItem.from_json(line.decode())).as_json()
            except Exception as error:  # noqa: BLE001  it becomes the failure record of the partition
                answer = "failed", f"{type(error).__name__}: {error}", traceback.format_exc()
            connection.sendall(json.dumps(answer).encode() + b"\n")


def _end_with_driver(connection: socket.socket) -> None:
    """Otherwise, a worker whose driver is gone would go on to the end of its partition."""
    poll = select.poll()
    poll.register(connection, 0)  # asked for or not, POLLHUP is told
    poll.poll()
    os._exit(1)
