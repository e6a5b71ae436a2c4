"""The text of a table, line by line: its encoding, lines without end, and lines that may be skipped."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from typing import IO

from x2i.crawl.sources.notes import PlanningNotes
from x2i.errors import UserError

LONGEST_LINE = 16 * 2**20
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class BadLines:
    """Decides about lines that cannot be read: up to `allowed` of a source are noted, the next ends the planning."""

    def __init__(self, allowed: int, notes: PlanningNotes) -> None:
        self._left = allowed
        self.notes = notes

    def add(self, file: str, where: str, why: str) -> None:
        """where: such as "line 7". Raises UserError if no more are allowed."""
        if not self._left:
            fix = "correct it, or skip such lines with --skip-bad-lines N"
            raise UserError(f"{file}: {where} {why}: {fix}")
        self._left -= 1
        self.notes.bad_lines.append((file, where, why))


class TextLines:
    """The lines of a text file, each once, as an iterator that knows the number of the line it gave last.

    UTF-8 with or without a byte order mark, or UTF-16 with one; line ends of any system. Raises UserError for anything
    else, naming the line.
    """

    def __init__(self, file: str, stream: IO[bytes], bad: BadLines) -> None:
        self.file = file
        self.number = 0
        self._stream = stream
        self._bad = bad
        head = stream.read(2)
        stream.seek(0)
        encoding = "utf-16" if head in _UTF16 else "utf-8-sig"
        self._text = io.TextIOWrapper(stream, encoding=encoding, newline="")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            try:
                line = self._text.readline(LONGEST_LINE)
            except UnicodeDecodeError as error:
                raise self._bad_encoding(error) from error
            if not line:
                raise StopIteration
            self.number += 1
            if len(line) >= LONGEST_LINE and line[-1] not in "\r\n":
                raise UserError(f"{self.file}: line {self.number} is longer than 16 MB: is this a table of lines?")
            if "\0" not in line:
                return line
            why = "holds a NUL byte: is this text in UTF-8?"
            if self.number == 1:
                raise UserError(f"{self.file}: line 1 {why} UTF-16 must begin with a byte order mark")
            self._bad.add(self.file, f"line {self.number}", why)

    def read(self, size: int) -> str:
        """Returns up to `size` characters, whatever their lines. Raises UserError."""
        try:
            return self._text.read(size)
        except UnicodeDecodeError as error:
            raise self._bad_encoding(error) from error

    def _bad_encoding(self, error: UnicodeDecodeError) -> UserError:
        if error.encoding.lower().startswith("utf-16"):
            return UserError(f"{self.file}: cannot be read as UTF-16: {error.reason}: save it as UTF-8")
        fix = "save it as UTF-8, for example with iconv -f latin1 -t utf-8"
        return UserError(f"{self.file}: line {self._bad_line()} is not UTF-8: {fix}")

    def _bad_line(self) -> int:
        self._stream.seek(0)
        for number, line in enumerate(self._stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
        return self.number + 1


class RecordLines:
    """Lines for a reader of records that may span several: those of a record that fails can be read anew.

    `number` is that of the line given last, as in `TextLines`.
    """

    def __init__(self, lines: TextLines) -> None:
        self.number = 0
        self._lines = lines
        self._again: deque[tuple[int, str]] = deque()
        self._record: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again:
            self.number, line = self._again.popleft()
        else:
            line = next(self._lines)
            self.number = self._lines.number
        self._record.append((self.number, line))
        return line

    def begin_record(self) -> None:
        """Forgets the lines so far: what comes next is another record."""
        self._record.clear()

    def give_last_again(self) -> None:
        """Puts the line given last back: it is given again."""
        self._again.appendleft(self._record.pop())

    def pass_over_first(self) -> int:
        """Puts all lines of the record but its first back, and returns the first's number."""
        first, _ = self._record[0]
        self._again.extendleft(reversed(self._record[1:]))
        self._record.clear()
        return first
