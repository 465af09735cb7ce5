"""Files of molecules as a stream of entries: CSV, SMI and SDF, one line or record at a time.

Lines are UTF-8, or where that fails Windows-1252, each on its own: SMILES are ASCII in either, and a name that was
written elsewhere costs nothing. UTF-16 is known by its first two bytes. What cannot be read is an entry with an error
in its place; what cannot be read as a whole raises `InputError`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import EmptyInput, InputError, JobError, LimitExceeded, NotAMolecule, TruncatedInput
from models.screening.kind import ScreeningParams

MOST_LINE = 1 << 20
"""Bytes of one line."""

MOST_RECORD = 4 << 20
"""Letters of one record of an SDF: 1,000 atoms take some 100,000."""

COLUMNS = ("smiles", "canonical_smiles", "mol", "structure")
"""Headers that hold SMILES where `params.column` names none, in any case, the first that is there."""

_COUNTS = re.compile(r"^[ \d]{6}.*V[23]000\s*$")
_HEAD = 64 << 10


@dataclass(frozen=True)
class Entry:
    """One line or record: its number in the file, from 1, and a SMILES, a mol block or an error."""

    line: int
    smiles: str = ""
    name: str = ""
    block: str | None = None
    error: JobError | None = None


def entries(path: Path, params: ScreeningParams) -> Iterator[Entry]:
    """Every entry of a file. Raises `InputError` where the file as a whole is none of molecules."""
    head = _head(path)
    form = params.format or _form(head, params)
    if form == "sdf":
        return _sdf(path)
    return _csv(path, head[0], params) if form == "csv" else _smi(path)


def count(path: Path) -> int:
    """How many lines there are, or records of an SDF: what progress is measured by. Quick, and not exact."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        sdf = b"V2000" in head or b"V3000" in head
        file.seek(0)
        found, last = 0, b""
        while block := file.read(1 << 20):
            found += (last[-4:] + block).count(b"$$$$") if sdf else block.count(b"\n")
            last = block
    return max(1, found)


def _head(path: Path) -> list[str]:
    """The first lines; raises `InputError` where there are none or they are no text."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.strip():
        raise EmptyInput()
    if b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise NotAMolecule("The file is no text; send CSV, SMI (a SMILES a line) or SDF.")
    found = []
    for line in _lines(path):
        found.append(line)
        if len(found) >= 5:
            break
    return found


def _form(head: list[str], params: ScreeningParams) -> str:
    """What the first lines look like."""
    if any(_COUNTS.match(line) for line in head[3:4]) or any(line.startswith("$$$$") for line in head):
        return "sdf"
    fields = _fields(head[0])
    words = (head[0].split() or [""])[0]
    if params.column is not None or _place(fields, None) is not None or "," in words or ";" in words:
        return "csv"
    return "smi"


def _lines(path: Path) -> Iterator[str]:
    """Lines without their ends. A line longer than the limit raises `LimitExceeded`."""
    with path.open("rb") as file:
        utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    if utf16:
        with path.open(encoding="utf-16", errors="replace", newline=None) as text:
            for line in text:
                yield line.rstrip("\n")
        return
    with path.open("rb") as file:
        first = True
        while raw := file.readline(MOST_LINE + 1):
            if len(raw) > MOST_LINE:
                raise LimitExceeded(f"A line may have {MOST_LINE >> 20} MiB.", limit="line_bytes")
            raw = raw.removeprefix(b"\xef\xbb\xbf") if first else raw
            first = False
            yield _decoded(raw).rstrip("\r\n")


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _smi(path: Path) -> Iterator[Entry]:
    """A SMILES, and after white space a name."""
    for number, line in enumerate(_lines(path), start=1):
        smiles, _, name = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        yield Entry(number, smiles, name.strip()) if smiles else _empty(number)


def _csv(path: Path, header: str, params: ScreeningParams) -> Iterator[Entry]:
    """A row a molecule; rows that a quoted cell stretches over several lines count as the line they begin on."""
    fields = _fields(header)
    place = _place(fields, params.column)
    if place is None:
        wanted = f"named {params.column}" if params.column is not None else f"named {' or '.join(COLUMNS)}"
        raise InputError(f"The table has no column {wanted}; say which one holds the SMILES as params.column.")
    name = next((at for at, field in enumerate(fields) if field.casefold() in ("name", "id", "mol_id", "cid")), None)
    rows: Any = csv.reader((line + "\n" for line in _lines(path)), delimiter=_delimiter(header))
    next(rows)
    began = rows.line_num + 1
    try:
        for row in rows:
            number, began = began, rows.line_num + 1
            if not any(cell.strip() for cell in row):
                yield _empty(number)
            elif place >= len(row):
                yield Entry(number, error=InputError("The row is shorter than the header."))
            else:
                told = row[name] if name is not None and name < len(row) else ""
                yield Entry(number, row[place].strip(), told.strip())
    except csv.Error:
        yield Entry(began, error=InputError("The table cannot be read from here on: a quote that never ends, perhaps."))


def _sdf(path: Path) -> Iterator[Entry]:
    """A record up to each `$$$$`. The last one may lack that mark, if its mol block is whole."""
    held: list[str] = []
    number, size, over = 1, 0, False
    for line in _lines(path):
        if line.startswith("$$$$"):
            yield _record(number, held, over)
            number, held, size, over = number + 1, [], 0, False
            continue
        size += len(line)
        over |= size > MOST_RECORD
        if not over:
            held.append(line)
    if over or any(line.strip() for line in held):
        whole = any(line.startswith("M  END") for line in held)
        yield _record(number, held, over) if whole or over else Entry(number, error=TruncatedInput())


def _record(number: int, held: list[str], over: bool) -> Entry:
    if over:
        error = LimitExceeded(f"A record may have {MOST_RECORD >> 20} MiB.", limit="record_bytes")
        return Entry(number, error=error)
    if not any(line.strip() for line in held):
        return _empty(number)
    end = next((at for at, line in enumerate(held) if line.startswith("M  END")), None)
    if end is None:
        return Entry(number, error=TruncatedInput("The record has no end of its mol block (M  END)."))
    return Entry(number, name=held[0].strip(), block="\n".join(held[: end + 1]) + "\n")


def _empty(number: int) -> Entry:
    return Entry(number, error=EmptyInput("The line has no molecule."))


def _delimiter(header: str) -> str:
    """The sign that stands in the header most often; a comma where none does."""
    return max(",;\t|", key=header.count)


def _fields(header: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([header], delimiter=_delimiter(header)), [])]


def _place(fields: list[str], column: str | None) -> int | None:
    """Where the SMILES stand among the columns."""
    folded = [field.casefold() for field in fields]
    wanted = (column.strip().casefold(),) if column is not None else COLUMNS
    return next((folded.index(one) for one in wanted if one in folded), None)
