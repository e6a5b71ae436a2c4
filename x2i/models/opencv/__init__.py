"""Backends on networks that OpenCV runs itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2


@contextmanager
def only_errors() -> Iterator[None]:
    """Keeps OpenCV from writing warnings while it loads a network: OpenCV 5 warns about the target it chose itself."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
