"""All of one storage into another: how an installation moves from a folder to a bucket."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from storage import names
from storage.disk import Disk
from storage.remote import Remote
from storage.trouble import named

AT_ONCE = 8
"""Files on their way at once: an object store answers each in milliseconds, and many at a time."""

PIECE = 1 << 20
"""Bytes that are read at a time."""

Place = Disk | Remote


@dataclass
class Copied:
    """What became of the files of a storage."""

    files: int = 0
    size: int = 0
    """Bytes of the files that were copied."""

    kept: int = 0
    """Files that were there already, whole: every name is written once."""

    damaged: list[str] = field(default_factory=list)
    """Paths of uploads that are not what their name says; they are left out."""


def copy(source: Place, target: Place, report: Callable[[Copied], None] = lambda _: None) -> Copied:
    """Copy every file that `target` has not; may be repeated, and goes on where it was cut off.

    For a time in which nobody writes or deletes: what is deleted meanwhile would stay in the copy. Raises
    `jobs.errors.StorageUnavailable` where either is full or away, and FileNotFoundError for a file that went meanwhile.
    `report` gets the state after each file.
    """
    copied = Copied()
    paths = _paths(source)
    stopping = threading.Event()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            while group := list(islice(paths, 64 * AT_ONCE)):
                for one in as_completed([pool.submit(_copy, source, target, path, stopping) for path in group]):
                    _count(copied, *one.result())
                    report(copied)
        except BaseException:
            stopping.set()
            raise
    return copied


def _paths(place: Place) -> Iterator[str]:
    """Uploads, then what jobs wrote; files that nobody of ours put there are not among them."""
    for folder in place.folders(names.BLOBS):
        for name in place.files(f"{names.BLOBS}/{folder}"):
            if names.is_blob(path := f"{names.BLOBS}/{folder}/{name}"):
                yield path
    yield from _below(place, names.JOBS)


def _below(place: Place, path: str) -> Iterator[str]:
    for name in place.files(path):
        yield f"{path}/{name}"
    for name in place.folders(path):
        yield from _below(place, f"{path}/{name}")


def _copy(source: Place, target: Place, path: str, stopping: threading.Event) -> tuple[str, int | None, bool]:
    """The path, the bytes that were copied (None: it was there), and whether they are what its name says."""
    if stopping.is_set() or target.exists(path):
        return path, None, True
    hasher, size = hashlib.sha256(), 0
    with closing(source.open(path)) as stream, target.writing() as (written, temporary):
        while piece := _read(stream, source.place):
            hasher.update(piece)
            size += len(piece)
            with named(str(temporary.parent)):
                written.write(piece)
        if names.is_blob(path) and names.blob(f"sha256:{hasher.hexdigest()}") != path:
            return path, size, False
        target.publish(written, temporary, path)
    return path, size, True


def _read(stream: BinaryIO, place: str) -> bytes:
    with named(place):
        return stream.read(PIECE)


def _count(copied: Copied, path: str, size: int | None, whole: bool) -> None:
    if not whole:
        copied.damaged.append(path)
    elif size is None:
        copied.kept += 1
    else:
        copied.files += 1
        copied.size += size
