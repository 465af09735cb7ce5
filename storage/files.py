"""The storage as the rest of medjobs sees it: `Storage(url)`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

from storage import names
from storage.checkpoints import StoredCheckpoints
from storage.disk import Disk, prepared
from storage.errors import BadName, TooLarge
from storage.remote import Remote
from storage.s3 import S3
from storage.trouble import named


class Stored(NamedTuple):
    """What was put: its content hash ("sha256:" and hex) and its size in bytes."""

    digest: str
    size: int


class Room(NamedTuple):
    """Bytes of the disk that the storage lies on: all of it, and what is free to us."""

    size: int
    free: int


def place(url: str, cache: Path | None = None, make: bool = True) -> Disk | Remote:
    """Where the files of `url` lie; a local folder is made where it is missing, unless `make` is False. Other arguments
    as of `Storage`."""
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        folder = Path(unquote(parts.path))
        return prepared(folder) if make else Disk(folder)
    return (S3 if parts.scheme in ("s3", "s3a") else Remote)(url, cache)


class Storage:
    """Bytes by content hash, artifacts by job and fence. Safe to share between threads.

    Every method raises `jobs.errors.StorageUnavailable`, naming the disk or bucket, where that is full or away.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        """`url`: `file:///folder` or a path (the fast way), `s3://bucket/prefix`, or any of fsspec's.

        `cache` is a local folder for copies of what lies in the latter; without it, one that ends with the process.
        """
        self._place = place(url, cache)

    def room(self) -> Room | None:
        """How full a local storage's disk is; None for an object store, which has no end."""
        if not isinstance(self._place, Disk):
            return None
        with named(self._place.place):
            found = shutil.disk_usage(self._place.root)
        return Room(found.total, found.free)

    # -- uploads, by content hash ---------------------------------------------------------------------------------

    def put(self, chunks: Iterable[bytes], limit: int) -> Stored:
        """Stream bytes in; they appear whole and durable, or not at all. Raises `TooLarge` above `limit` bytes.

        Bytes that are there already are written again: their age starts anew, which keeps a sweep off them.
        """
        hasher, size = hashlib.sha256(), 0
        with self._place.writing() as (stream, temporary):
            for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise TooLarge(limit)
                hasher.update(chunk)
                with named(self._place.place):
                    stream.write(chunk)
            digest = f"sha256:{hasher.hexdigest()}"
            self._place.publish(stream, temporary, names.blob(digest))
        return Stored(digest, size)

    def local(self, digest: str) -> Path:
        """A local path to read; a copy in the cache where the store is remote. Raises FileNotFoundError."""
        return self._place.local(names.blob(digest))

    def open(self, digest: str) -> BinaryIO:
        """The bytes as a stream. Raises FileNotFoundError."""
        return self._place.open(names.blob(digest))

    def exists(self, digest: str) -> bool:
        """Whether the bytes are there."""
        return self._place.exists(names.blob(digest))

    def intact(self, digest: str) -> bool:
        """Whether the bytes are there and still have their hash (reads them all)."""
        try:
            hasher = hashlib.sha256()
            with self.open(digest) as stream, named(self._place.place):
                while chunk := stream.read(1 << 20):
                    hasher.update(chunk)
            return f"sha256:{hasher.hexdigest()}" == digest
        except FileNotFoundError:
            return False

    def delete(self, digest: str, older_s: float = 0.0) -> bool:
        """Delete bytes; False, and they stay, where they were put less than `older_s` seconds ago."""
        return self._place.delete(names.blob(digest), older_s)

    # -- artifacts, by job and fence ------------------------------------------------------------------------------

    def put_artifact(self, job_id: str, fence: int, name: str, content: bytes | Path) -> None:
        """Write one artifact of an attempt, durable when this returns."""
        self.put_artifacts([(job_id, fence, name, content)])

    def put_artifacts(self, artifacts: Sequence[tuple[str, int, str, bytes | Path]]) -> None:
        """Write many (job, fence, name, content), all durable when this returns. Raises `BadName` before any write.

        A content that is a local file is copied from there in pieces.
        """
        if artifacts:
            self._place.write_many({names.artifact(job, fence, name): body for job, fence, name, body in artifacts})

    def read_artifact(self, job_id: str, fence: int, name: str) -> bytes:
        """An artifact's bytes. Raises FileNotFoundError."""
        with self.open_artifact(job_id, fence, name) as stream, named(self._place.place):
            return stream.read()

    def open_artifact(self, job_id: str, fence: int, name: str) -> BinaryIO:
        """An artifact as a stream. Raises FileNotFoundError, for a name that cannot be one too."""
        try:
            return self._place.open(names.artifact(job_id, fence, name))
        except BadName as error:
            raise FileNotFoundError(str(error)) from error

    def delete_job(self, job_id: str, keep_fence: int | None = None) -> None:
        """Delete what attempts of a job wrote: all of it, or all but the artifacts that stand under `keep_fence`."""
        if keep_fence is None:
            self._place.delete_tree(names.job(job_id))
            return
        for fence in self.fences(job_id):
            if fence != keep_fence:
                self._place.delete_tree(names.attempt(job_id, fence))
            else:
                self._place.delete_tree(names.checkpoints(job_id, fence))

    def artifacts(self, job_id: str, fence: int) -> list[str]:
        """Names, of one step, of what an attempt wrote, sorted."""
        return self._place.files(names.attempt(job_id, fence))

    def delete_artifact(self, job_id: str, fence: int, name: str) -> None:
        """Delete one artifact of an attempt."""
        self._place.delete(names.artifact(job_id, fence, name))

    def fences(self, job_id: str) -> list[int]:
        """The fences under which attempts of a job wrote something, rising."""
        return sorted(int(name) for name in self._place.folders(names.job(job_id)) if name.isdecimal())

    def folders_of_jobs(self) -> list[str]:
        """Ids of the jobs that have a folder, sorted, for the keeper's sweep."""
        return self._place.folders(names.JOBS)

    def checkpoints(self, job_id: str, fence: int) -> StoredCheckpoints:
        """The checkpoints of one attempt (jobs.running.Checkpoints)."""
        return StoredCheckpoints(self._place, job_id, fence)

    # -- the place itself -----------------------------------------------------------------------------------------

    def check(self, thorough: bool = False) -> str:
        """Raise `StorageUnavailable` unless a file can be written and deleted, and listed where `thorough`.

        Says where things lie, without any secret.
        """
        return self._place.check(thorough)

    def clean(self) -> int:
        """Delete temporary files and unfinished uploads that a crash left behind a day ago; how many."""
        return self._place.clean()


__all__ = ["BadName", "Storage", "Stored", "TooLarge", "place"]
