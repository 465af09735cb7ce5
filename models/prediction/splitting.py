"""A file of one or many patients to one source each: JSON, JSON lines, CSV or Parquet. No torch, and no polars here.

What a table holds, and how its patients are told apart, stands in models/prediction/tables.py. Items come in the order
in which the file first names a patient. A patient that cannot be read is an error in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from jobs.errors import EmptyInput, InputError, JobError, LimitExceeded
from jobs.predicting import Source

MOST_BYTES = 32 << 20
"""JSON text of one patient: the 100,000 measurements that a patient may have take about 5 MB."""

_CHUNK = 1 << 20
_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder()
_BOM = b"\xef\xbb\xbf"


def split(path: Path) -> Iterator[Source | JobError]:
    """Yield each patient's source; its `data` is JSON text, or columns, as `models.prediction.patients.parse` takes.

    Raises `InputError` where the file as a whole, or what is left of it, cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(_BOM).lstrip()
    if not head:
        raise EmptyInput()
    if head[:1] == b"{":
        return _objects(path)
    if head[:1] == b"[":
        return _array(path)
    from models.prediction import tables

    return tables.split(path, parquet=head[:4] == b"PAR1")


def _objects(path: Path) -> Iterator[Source | JobError]:
    """One object over the whole file, or one on each line: then a broken line costs only its own patient."""
    with path.open("rb") as file:
        first = file.readline(MOST_BYTES + 1).removeprefix(_BOM)
        while not first.strip():
            first = file.readline(MOST_BYTES + 1)
        second = file.readline(MOST_BYTES + 1)
        if first.rstrip().endswith(b"}") and second.lstrip()[:1] == b"{":
            yield _document(first)
            while second:
                if second.strip():
                    yield _document(second)
                    _skip(file, second)
                second = file.readline(MOST_BYTES + 1)
            return
        rest = first + second + file.read(MOST_BYTES + 1)
    yield _document(rest)


def _document(text: bytes) -> Source | JobError:
    if len(text) > MOST_BYTES:
        return LimitExceeded(f"The JSON of one patient may have {MOST_BYTES >> 20} MiB.", limit="patient_bytes")
    return Source(data=text)


def _skip(file: BinaryIO, line: bytes) -> None:
    """Read on to the end of a line that was cut."""
    while len(line) > MOST_BYTES and not line.endswith(b"\n"):
        line = file.readline(MOST_BYTES + 1)


def _array(path: Path) -> Iterator[Source | JobError]:
    """The elements of one JSON array, read as a stream: what is in memory is one patient and a chunk."""
    with path.open(encoding="utf-8-sig") as file:
        try:
            yield from _elements(_Text(file))
        except (ValueError, RecursionError):
            raise InputError("The JSON array of patients cannot be read from here on.") from None


def _elements(text: _Text) -> Iterator[Source]:
    """Yield the text of each element; raises ValueError where the array is broken."""
    text.take()
    if text.mark() == "]":
        raise InputError("The JSON array holds no patient.")
    while True:
        yield Source(data=text.value().encode())
        mark = text.take()
        if mark == "]":
            break
        if mark != ",":
            raise ValueError("no comma between patients")
    if text.mark():
        raise ValueError("more after the array")


class _Text:
    """A text file, read in chunks as far as the next JSON value needs."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._held, self._at = "", 0

    def mark(self) -> str:
        """The next character that is not white space, which stays; empty at the end."""
        while True:
            rest = self._held[self._at : self._at + 256]
            blank = len(rest) - len(rest.lstrip(_SPACE))
            self._at += blank
            if blank < len(rest):
                return self._held[self._at]
            if self._at >= len(self._held) and not self._more(_CHUNK):
                return ""

    def take(self) -> str:
        """Like `mark`, and goes past it."""
        mark = self.mark()
        self._at += 1
        return mark

    def value(self) -> str:
        """The text of the next JSON value; raises ValueError."""
        self.mark()
        while True:
            try:
                _, end = _DECODER.raw_decode(self._held, self._at)
                break
            except json.JSONDecodeError:
                # Cut short or broken: only more text can tell, and twice as much each time keeps the cost linear.
                size = len(self._held) - self._at
                if size > MOST_BYTES or not self._more(max(_CHUNK, size)):
                    raise
        text, self._at = self._held[self._at : end], end
        return text

    def _more(self, count: int) -> bool:
        """Read on, and let go of what was used; whether there was more."""
        more = self._file.read(count)
        self._held, self._at = self._held[self._at :] + more, 0
        return bool(more)
