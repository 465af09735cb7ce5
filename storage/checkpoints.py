"""Checkpoints of a long job: written under the attempt's own fence, read from the newest valid one of any attempt."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from storage import names
from storage.disk import Disk
from storage.remote import Remote
from storage.trouble import named

_MANIFEST = "manifest.json"
_SEGMENTS = "segments"
_KEEP = 2
"""Checkpoints kept per attempt: the newest, and the one before in case the newest is damaged."""


class _Place(NamedTuple):
    fence: int
    number: int


class _Segment(NamedTuple):
    """A file of a work that grows: under which fence it was written, and its checksum (hex)."""

    fence: int
    name: str
    sha256: str


class _Found(NamedTuple):
    files: dict[str, bytes]
    manifest: dict[str, Any]
    segments: list[_Segment]


class StoredCheckpoints:
    """`jobs/<job>/<fence>/checkpoints/<number>/`: the files, then the manifest with their checksums; and beside them
    `segments/`, to which checkpoints of this attempt and of later ones point, so that each is written once.

    The manifest is written last and whole, so a checkpoint without a valid one does not exist. An attempt deletes only
    its own older ones: a paused trainer must not prune what the new owner reads. Other attempts' go with the keeper,
    and so do all segments.
    """

    def __init__(self, place: Disk | Remote, job_id: str, fence: int) -> None:
        self._place = place
        self._job_id = job_id
        self._fence = fence
        self._next = 1 + max((found.number for found in self._all() if found.fence == fence), default=0)
        self._newest: list[_Segment] = []
        self._held: dict[str, _Segment] = {}
        """By name, the segments that need not be written again."""

    def save(self, files: dict[str, bytes], manifest: dict[str, Any], segments: Sequence[Path] = ()) -> None:
        """Store files and new segments, then the manifest with their checksums; durable when this returns.

        `manifest` is the caller's own JSON. (That the crash count is reset is the worker's to say to the database.)
        """
        here = _Place(self._fence, self._next)
        self._next += 1  # A try that fails half-way leaves a half behind, which no later one may write into.
        new = {
            path: _Segment(self._fence, path.name, _of_file(path)) for path in segments if path.name not in self._held
        }
        written: dict[str, bytes | Path] = {self._path(here, name): content for name, content in files.items()}
        self._place.create_many(written | {self._segment(one): path for path, one in new.items()})
        body = {
            "manifest": manifest,
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
            "segments": [new.get(path) or self._held[path.name] for path in segments],
        }
        text = json.dumps(body, allow_nan=False, sort_keys=True)
        sealed = json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "body": text})
        self._place.create_many({self._path(here, _MANIFEST): sealed.encode()})
        self._held |= {one.name: one for one in new.values()}
        for old in [
            found for found in self._all() if found.fence == self._fence and found.number <= here.number - _KEEP
        ]:
            self._place.delete_tree(f"{names.checkpoints(self._job_id, old.fence)}/{old.number}")

    def newest(self) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """Files and manifest of the newest checkpoint whose checksums hold, under this or an earlier fence."""
        for place in sorted(self._all(), reverse=True):
            found = self._read(place)
            if found is not None:
                self._newest = found.segments
                return found.files, found.manifest
        return None

    def segments(self, folder: Path) -> list[Path]:
        """Copies of the segments of what `newest` gave, in order; what is saved from now on adds to them."""
        for one in self._newest:
            path = folder / one.name
            with named(self._place.place), self._place.open(self._segment(one)) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
        self._held = {one.name: one for one in self._newest}
        return [folder / one.name for one in self._newest]

    def _all(self) -> Iterator[_Place]:
        """Every checkpoint up to our fence, whole or not. A later fence belongs to whoever replaced us."""
        for fence in self._place.folders(names.job(self._job_id)):
            if fence.isdecimal() and int(fence) <= self._fence:
                for number in self._place.folders(names.checkpoints(self._job_id, int(fence))):
                    if number.isdecimal():
                        yield _Place(int(fence), int(number))

    def _read(self, place: _Place) -> _Found | None:
        try:
            sealed = json.loads(self._bytes(place, _MANIFEST))
            text = sealed["body"]
            if hashlib.sha256(text.encode()).hexdigest() != sealed["sha256"]:
                return None
            body = json.loads(text)
            files = {name: self._bytes(place, name) for name in body["files"]}
            segments = [_Segment(*one) for one in body.get("segments", [])]
            whole = all(self._checksum(one) == one.sha256 for one in segments)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if not whole or any(hashlib.sha256(files[name]).hexdigest() != body["files"][name] for name in files):
            return None
        return _Found(files, body["manifest"], segments)

    def _checksum(self, segment: _Segment) -> str:
        with self._place.open(self._segment(segment)) as stream, named(self._place.place):
            return _of_stream(stream)

    def _bytes(self, place: _Place, name: str) -> bytes:
        with self._place.open(self._path(place, name)) as stream, named(self._place.place):
            return stream.read()

    def _path(self, place: _Place, name: str) -> str:
        return names.artifact(self._job_id, place.fence, f"{names.CHECKPOINTS}/{place.number}/{name}")

    def _segment(self, segment: _Segment) -> str:
        return names.artifact(self._job_id, segment.fence, f"{names.CHECKPOINTS}/{_SEGMENTS}/{segment.name}")


def _of_file(path: Path) -> str:
    with path.open("rb") as stream:
        return _of_stream(stream)


def _of_stream(stream: BinaryIO) -> str:
    """sha256 (hex), read in pieces."""
    hasher = hashlib.sha256()
    while piece := stream.read(1 << 20):
        hasher.update(piece)
    return hasher.hexdigest()
