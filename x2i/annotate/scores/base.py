"""What a score takes and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.image.quality import luma


@dataclass(frozen=True)
class Picture:
    """An image as scores see it. rgb: uint8 (height, width, 3). luma: uint8 (height, width), made once for all."""

    rgb: NDArray[np.uint8]

    @cached_property
    def luma(self) -> NDArray[np.uint8]:
        return luma(self.rgb)


class Score(Protocol):
    """Measures one thing. fields: the Arrow fields of the quality column that it fills, by name."""

    @property
    def fields(self) -> tuple[pa.Field, ...]: ...

    def score(self, picture: Picture) -> Mapping[str, float | int]:
        """Returns one value per field."""
        ...
