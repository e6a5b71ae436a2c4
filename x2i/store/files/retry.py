"""Repeats a request to a store that failed for a passing reason, after a pause that grows and is jittered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from x2i.errors import UserError

ATTEMPTS = 4
FIRST_PAUSE = 0.2  # seconds before the second attempt; each pause is twice as long as the one before, plus jitter
LONGEST_PAUSE = 5.0  # seconds

Answer = TypeVar("Answer")


class RequestError(Exception):
    """A store did not give what `path` should hold. Its text is what the library, or the check, said."""

    def __init__(self, path: Path, problem: BaseException | str) -> None:
        super().__init__(problem if isinstance(problem, str) else repr(problem))
        self.path = path
        self.is_final = isinstance(problem, FileNotFoundError | PermissionError)


def with_retries(request: Callable[[], Answer], failure: str) -> Answer:
    """Returns what `request` returns; repeats it while it raises a RequestError that is not final.

    Raises UserError, "PATH: FAILURE, N attempts: PROBLEM", after a final RequestError or after ATTEMPTS of them.
    """
    import tenacity

    pause = tenacity.wait_exponential_jitter(initial=FIRST_PAUSE, max=LONGEST_PAUSE, jitter=FIRST_PAUSE)
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=pause,
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, RequestError) and not error.is_final),
        reraise=True,
    )
    try:
        return retrying(request)
    except RequestError as error:
        attempts = retrying.statistics["attempt_number"]
        raise UserError(f"{error.path}: {failure}, {attempts} attempts: {error}") from error
