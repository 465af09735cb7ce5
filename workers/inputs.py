"""A job's inputs -> its items' sources: files by their local paths, series in slice order, archives unpacked, files of
many items split as their kind says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from imaging.archive import members
from imaging.header import read_header
from imaging.series import order_series
from jobs.errors import FileGone, InputError, JobError, LimitExceeded
from jobs.kinds import Kind, resolve
from jobs.predicting import Source
from storage.files import Storage

Split = Callable[[Path], Iterator[Source | JobError]]


class Inputs:
    """The inputs of one attempt. `warnings` fills while they are read."""

    def __init__(self, storage: Storage, scratch: Path, kind: Kind) -> None:
        """`scratch` takes what archives unpack to. The kind says what makes an item, and how many there may be."""
        self.warnings: list[str] = []
        self._storage = storage
        self._scratch = scratch
        self._kind = kind
        self._split: Split = resolve(kind.splitter) if kind.splitter else _whole

    def sources(self, inputs: Iterable[Any]) -> list[Source | JobError]:
        """One source per item, in order; an error in the place of an item that cannot be had.

        Where the inputs hold more items than the kind takes in one job, an error stands behind the last that it takes.
        Raises `StorageUnavailable` when the storage does not answer: the whole job is then tried again.
        """
        found: list[Source | JobError] = []
        for number, given in enumerate(inputs):
            try:
                for source in self._expand(given, number):
                    if len(found) >= self._kind.max_inputs:
                        error = LimitExceeded("The inputs hold more items than this kind takes in one job.")
                        return [*found, error] if not self._kind.joined else [error]
                    found.append(source)
            except InputError as error:
                found.append(error.kept())
        return [_joined(found)] if self._kind.joined and found else found

    def _expand(self, given: Any, number: int) -> Iterator[Source | JobError]:
        if isinstance(given, str):
            yield from self._split(self._local(given))
        elif "data" in given:
            yield Source((), given["data"])
        elif "series" in given:
            yield self._series([self._local(digest) for digest in given["series"]], number)
        else:
            yield from self._members(self._local(given["archive"]), number)

    def _series(self, files: list[Path], number: int) -> Source:
        series = order_series([read_header(file) for file in files])
        self.warnings += [f"input {number}: {gap.message}" for gap in series.gaps]
        return Source(tuple(files[position] for position in series.order))

    def _members(self, archive: Path, number: int) -> Iterator[Source | JobError]:
        folder = self._scratch / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        for member in members(archive):
            if member.data is None:
                yield member.error or InputError()
                continue
            path = folder / str(member.position)
            path.write_bytes(member.data)
            try:
                yield from self._split(path)
            except InputError as error:
                yield error.kept()

    def _local(self, digest: str) -> Path:
        try:
            return self._storage.local(digest)
        except FileNotFoundError:
            raise FileGone(file=digest) from None


def _whole(path: Path) -> Iterator[Source]:
    """A file is one item."""
    yield Source((path,))


def _joined(found: Iterable[Source | JobError]) -> Source | JobError:
    """All files as one item, in the order given; the first that cannot be had fails it."""
    files: list[Path] = []
    for source in found:
        if isinstance(source, JobError):
            return source
        files += source.files
    return Source(tuple(files))


def digests(inputs: Iterable[Any]) -> list[Any]:
    """The inputs by their hashes, for the provenance: files are named by theirs, inline data has one of its JSON."""
    return [given if isinstance(given, str) or "data" not in given else _inline(given["data"]) for given in inputs]


def _inline(data: Any) -> dict[str, str]:
    """Equal data has an equal hash, whatever the order of its names."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return {"data": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"}
