"""A version's files as a folder on this host, fetched once and checked whenever they are asked for."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from db.records import VersionFile
from jobs.errors import ModelUnusable
from storage.files import Storage


def folder(storage: Storage, cache: Path, content: str, files: Sequence[VersionFile]) -> Path:
    """`<cache>/<content>/` with the files, each with the hash that the registry has for it.

    Several processes may ask at once: each fetches into a folder of its own and moves it into place whole. Raises
    `ModelUnusable` where the storage has lost a file, `StorageUnavailable` where it does not answer.
    """
    place = cache / content
    if _intact(place, files):
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=cache) as fetching:
        fresh = Path(fetching) / "files"
        fresh.mkdir()
        for file in files:
            target = fresh / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _fetch(storage, file, target)
        if not _intact(fresh, files):
            raise ModelUnusable("A file of this model version is damaged in the storage; restore it from a backup.")
        _swap(fresh, place, Path(fetching) / "damaged", files)
    return place


def _fetch(storage: Storage, file: VersionFile, target: Path) -> None:
    try:
        with storage.open(file.digest) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    except FileNotFoundError:
        detail = "A file of this model version is missing in the storage; restore it from a backup."
        raise ModelUnusable(detail) from None


def _swap(fresh: Path, place: Path, damaged: Path, files: Sequence[VersionFile]) -> None:
    """Put `fresh` in the place; another process may do the same at this moment."""
    for _ in range(3):
        try:
            fresh.rename(place)
            return
        except OSError:
            if _intact(place, files):
                return
            try:
                place.rename(damaged)
            except OSError:
                continue
    raise ModelUnusable(f"The folder {place.parent} cannot be written; check its rights and the disk.")


def _intact(place: Path, files: Sequence[VersionFile]) -> bool:
    try:
        return all(_digest(place / file.path) == file.digest for file in files)
    except OSError:
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
