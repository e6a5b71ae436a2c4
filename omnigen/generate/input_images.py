"""Input images as a user gives them: files, PIL images or arrays, all to uint8 RGB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from x2i.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_image(image: Any) -> NDArray[np.uint8]:
    """Returns an image as uint8 RGB (H, W, 3): of a path, a PIL image or an array. Raises UserError if it is none."""
    import numpy as np

    if isinstance(image, str | Path):
        return read_image_file(Path(image), "input image")
    if hasattr(image, "convert"):
        return np.asarray(image.convert("RGB"))
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise UserError(f"input image: found {array.dtype} {array.shape}, expected uint8 (height, width, 3)")
    return array


def read_image_file(path: Path, what: str = "--image") -> NDArray[np.uint8]:
    """Returns an image file as uint8 RGB (H, W, 3). Raises UserError, which calls it `what`, if it cannot be read."""
    from x2i.image.decode import decode
    from x2i.reasons import DroppedError

    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror or error}") from error
    except DroppedError as error:
        raise UserError(f"{what} {path}: not a readable image: {error}") from error
