"""A job's inputs -> its items' sources: files by their local paths, series in slice order, archives unpacked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from imaging.archive import members
from imaging.header import read_header
from imaging.series import order_series
from jobs.errors import FileGone, InputError, JobError, LimitExceeded
from jobs.predicting import Source
from storage.files import Storage


class Inputs:
    """The inputs of one attempt. `warnings` fills while they are read."""

    def __init__(self, storage: Storage, scratch: Path, max_items: int) -> None:
        """`scratch` takes what archives unpack to; `max_items` bounds the items that they may add up to."""
        self.warnings: list[str] = []
        self._storage = storage
        self._scratch = scratch
        self._max_items = max_items

    def sources(self, inputs: Iterable[Any]) -> list[Source | JobError]:
        """One source per item, in order; an error in the place of an item that cannot be had.

        Raises `StorageUnavailable` when the storage does not answer: the whole job is then tried again.
        """
        found: list[Source | JobError] = []
        for number, given in enumerate(inputs):
            try:
                for source in self._expand(given, number):
                    found.append(source)
                    if len(found) > self._max_items:
                        raise LimitExceeded("The inputs unpack to more items than this kind takes in one job.")
            except InputError as error:
                found.append(error)
        return found

    def _expand(self, given: Any, number: int) -> Iterator[Source | JobError]:
        if isinstance(given, str):
            yield Source((self._local(given),))
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
            yield Source((path,))

    def _local(self, digest: str) -> Path:
        try:
            return self._storage.local(digest)
        except FileNotFoundError:
            raise FileGone(file=digest) from None


def digests(inputs: Iterable[Any]) -> list[Any]:
    """The inputs by their hashes, for the provenance: files are their hash, inline data is left out."""
    return [given if isinstance(given, str) or "data" not in given else {"data": "inline"} for given in inputs]
