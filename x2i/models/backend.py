"""A backend: one way of doing an ability, described by its options, loaded once in every worker that uses it."""

from __future__ import annotations

import getpass
import hashlib
import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Protocol

from filelock import FileLock

from x2i.errors import UserError
from x2i.resources import Resources


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Base of all backends. A subclass is a frozen dataclass; its annotated fields are its options (x2i.options).

    A backend is small and travels to workers by pickle; what it loads is large and stays in one. A backend without
    weights does the work itself: `load` returns it.

    title: one line for people. extra: the optional dependencies of this project that it needs, "" for none.
    open_names: whether `family:NAME` names any model of the user's; otherwise the whole name is a row of the registry.
    code_version: raised when a backend without weights would give other results.
    model, revision: as named, "" where the name has no such part.
    """

    title: ClassVar[str]
    extra: ClassVar[str] = ""
    license: ClassVar[str] = ""
    open_names: ClassVar[bool] = False
    code_version: ClassVar[str] = "1"

    model: str = ""
    revision: str = ""

    @property
    def resources(self) -> Resources:
        """What a worker that has loaded this needs of its machine."""
        return Resources()

    @property
    def batch_size(self) -> int:
        """How many images one call takes at most."""
        return 16

    @property
    def batches_at_once(self) -> int:
        """How many calls may be under way at once; more than 1 for what waits for others, such as servers."""
        return 1

    def resolve(self) -> str:
        """Returns what fixes the results beside name and options: the commit of a repository, or a digest of weights.

        It is part of the fingerprint of what the backend makes. Raises UserError if the model cannot be found.
        """
        return self.code_version

    def fetch(self) -> None:
        """Brings the model's files to this machine, if they have to come from elsewhere. Called once at a time."""

    def load(self) -> Any:
        """Returns the object that fits the ability's protocol (x2i.models.abilities), weights in memory."""
        return self

    def require(self, module: str) -> ModuleType:
        """Returns the imported `module`. Raises UserError with the command to run if it is not installed."""
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise UserError(f"{self.title}: needs {error.name}: pip install 'x2i[{self.extra}]'") from error


class Fetched(Protocol):
    def fetch(self) -> None: ...


def fetched_once(wanted: Fetched) -> None:
    """Calls `wanted.fetch()` while no other process of this user on this machine fetches the same."""
    name = hashlib.sha256(repr(wanted).encode()).hexdigest()[:24]
    with FileLock(Path(tempfile.gettempdir()) / f"x2i-{getpass.getuser()}-{name}.lock"):
        wanted.fetch()
