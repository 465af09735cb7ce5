"""Checkpoints of a long job: written under the attempt's own fence, read from the newest valid one of any attempt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from storage import names
from storage.disk import Disk
from storage.remote import Remote
from storage.trouble import named

_FOLDER = "checkpoints"
_MANIFEST = "manifest.json"
_KEEP = 2
"""Checkpoints kept per attempt: the newest, and the one before in case the newest is damaged."""


class _Place(NamedTuple):
    fence: int
    number: int


class StoredCheckpoints:
    """`jobs/<job>/<fence>/checkpoints/<number>/`: the files, then the manifest with their checksums.

    The manifest is written last and whole, so a checkpoint without a valid one does not exist. An attempt deletes only
    its own older ones: a paused trainer must not prune what the new owner reads. Other attempts' go with the keeper.
    """

    def __init__(self, place: Disk | Remote, job_id: str, fence: int) -> None:
        self._place = place
        self._job_id = job_id
        self._fence = fence
        self._next = 1 + max((found.number for found in self._all() if found.fence == fence), default=0)

    def save(self, files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        """Store the files, then the manifest with their checksums; durable when this returns.

        `manifest` is the caller's own JSON. (That the crash count is reset is the worker's to say to the database.)
        """
        here = _Place(self._fence, self._next)
        self._place.write_many({self._path(here, name): content for name, content in files.items()})
        checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        text = json.dumps({"manifest": manifest, "files": checksums}, allow_nan=False, sort_keys=True)
        sealed = json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "body": text})
        self._place.write_many({self._path(here, _MANIFEST): sealed.encode()})
        self._next += 1
        for old in [
            found for found in self._all() if found.fence == self._fence and found.number <= here.number - _KEEP
        ]:
            self._place.delete_tree(f"{names.attempt(self._job_id, old.fence)}/{_FOLDER}/{old.number}")

    def newest(self) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """Files and manifest of the newest checkpoint whose checksums hold, under this or an earlier fence."""
        for place in sorted(self._all(), reverse=True):
            found = self._read(place)
            if found is not None:
                return found
        return None

    def _all(self) -> Iterator[_Place]:
        """Every checkpoint up to our fence, whole or not. A later fence belongs to whoever replaced us."""
        for fence in self._place.folders(names.job(self._job_id)):
            if fence.isdecimal() and int(fence) <= self._fence:
                folder = f"{names.attempt(self._job_id, int(fence))}/{_FOLDER}"
                for number in self._place.folders(folder):
                    if number.isdecimal():
                        yield _Place(int(fence), int(number))

    def _read(self, place: _Place) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        try:
            sealed = json.loads(self._bytes(place, _MANIFEST))
            text = sealed["body"]
            if hashlib.sha256(text.encode()).hexdigest() != sealed["sha256"]:
                return None
            body = json.loads(text)
            files = {name: self._bytes(place, name) for name in body["files"]}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if any(hashlib.sha256(content).hexdigest() != body["files"][name] for name, content in files.items()):
            return None
        return files, body["manifest"]

    def _bytes(self, place: _Place, name: str) -> bytes:
        with self._place.open(self._path(place, name)) as stream, named(self._place.place):
            return stream.read()

    def _path(self, place: _Place, name: str) -> str:
        return names.artifact(self._job_id, place.fence, f"{_FOLDER}/{place.number}/{name}")
