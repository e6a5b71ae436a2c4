"""Vectors in tables: lists of 16-bit floats, of a fixed size as soon as the model that makes them is loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from x2i.tables import TableSpec

VECTOR = pa.list_(pa.float16())


def with_vectors_of(spec: TableSpec, field: str, size: int) -> TableSpec:
    """Returns the declaration with vectors of `size` numbers in a field."""
    place = spec.schema.get_field_index(field)
    return replace(spec, schema=spec.schema.set(place, pa.field(field, pa.list_(pa.float16(), size))))


def stored(vector: NDArray[np.float32]) -> NDArray[np.float16]:
    """Returns a vector as it is stored: 11 bits of each number, so that dot products are true to about 0.001."""
    return vector.astype(np.float16)
