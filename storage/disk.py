"""A local folder as storage: atomic by rename, durable by fsync of the file and of its folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jobs.errors import StorageUnavailable
from storage.names import BLOBS, JOBS
from storage.trouble import named

_STALE_S = 24 * 3600.0
"""Age after which a temporary file belongs to no upload that still runs."""


class Disk:
    """Paths are relative to `root`, as storage/names.py makes them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = str(root)
        self._temporary = root / "tmp"

    @contextmanager
    def writing(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A temporary file of this storage, deleted at the end unless `publish` moved it away."""
        with named(self.place):
            self._temporary.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._temporary)
        path, stream = Path(name), os.fdopen(handle, "wb")
        try:
            yield stream, path
        finally:
            # What matters was flushed by `publish`; on a full disk, closing flushes once more and fails once more.
            with contextlib.suppress(OSError):
                stream.close()
            path.unlink(missing_ok=True)

    def publish(self, stream: BinaryIO, temporary: Path, path: str) -> None:
        """Make the written file appear at `path`, whole and durable, or not at all."""
        target = self.root / path
        with named(self.place):
            stream.flush()
            os.fsync(stream.fileno())
            made = _make_folders(target.parent)
            temporary.replace(target)
            _sync_folders({target.parent, *made})

    def write_many(self, files: Mapping[str, bytes | Path]) -> None:
        """Publish many files, of bytes or copied from a local file: each is synced, each folder once, after all renames
        in it."""
        moved: list[tuple[Path, Path]] = []
        folders: set[Path] = set()
        try:
            with named(self.place):
                self._temporary.mkdir(parents=True, exist_ok=True)
                for path, content in files.items():
                    target = self.root / path
                    temporary = self._temporary / secrets.token_hex(16)
                    moved.append((temporary, target))
                    _write(temporary, content)
                    folders |= {target.parent, *_make_folders(target.parent)}
                # All are begun before the first is waited for, so that the disk may order them.
                for temporary, _ in moved:
                    _sync(temporary)
                for temporary, target in moved:
                    temporary.replace(target)
                _sync_folders(folders)
        except BaseException:
            for temporary, _ in moved:
                temporary.unlink(missing_ok=True)
            raise

    def create_many(self, files: Mapping[str, bytes | Path]) -> None:
        """As `write_many`, of files that nobody writes twice: the fence in their names sees to that."""
        self.write_many(files)

    def open(self, path: str) -> BinaryIO:
        """Read a file; raises FileNotFoundError."""
        with named(self.place):
            return (self.root / path).open("rb")

    def local(self, path: str) -> Path:
        """The file itself; raises FileNotFoundError."""
        found = self.root / path
        with named(self.place):
            found.stat()
        return found

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        with named(self.place):
            return (self.root / path).is_file()

    def delete(self, path: str, older_s: float = 0.0) -> bool:
        """Delete a file; False, and the file stays, where it was published less than `older_s` seconds ago.

        It is moved aside before its age is read once more, so that no upload can replace it between the look and the
        delete. Who dies just then leaves an upload of that moment aside: api/uploads.py looks once the owner is
        recorded.
        """
        target, aside = self.root / path, self._temporary / secrets.token_hex(16)
        with named(self.place):
            self._temporary.mkdir(parents=True, exist_ok=True)
            try:
                if _younger(target, older_s):
                    return False
                target.rename(aside)
            except FileNotFoundError:
                return True
            if _younger(aside, older_s):
                # An upload that came meanwhile has put the same bytes there: either copy will do.
                aside.replace(target)
                return False
            aside.unlink()
        return True

    def delete_tree(self, path: str) -> None:
        """Delete a folder and all in it; nothing where there is none."""
        with named(self.place), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.root / path)

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly under `path`, sorted."""
        with named(self.place):
            try:
                return sorted(entry.name for entry in os.scandir(self.root / path) if entry.is_dir())
            except FileNotFoundError:
                return []

    def files(self, path: str) -> list[str]:
        """Names of the files directly under `path`, sorted."""
        with named(self.place):
            try:
                return sorted(entry.name for entry in os.scandir(self.root / path) if entry.is_file())
            except FileNotFoundError:
                return []

    def check(self, thorough: bool = False) -> str:
        """Write and delete a small file; raises `StorageUnavailable`. The folder."""
        with self.writing() as (stream, path):
            self.publish(stream, path, f"tmp/{path.name}.check")
        self.delete(f"tmp/{path.name}.check")
        with named(self.place):
            free = shutil.disk_usage(self.root).free
        if free < 64 << 20:
            raise StorageUnavailable(f"The disk under {self.place} has only {free >> 20} MiB left; free space there.")
        return self.place

    def clean(self) -> int:
        """Delete temporary files that a crash left behind; how many."""
        removed = 0
        with named(self.place):
            for entry in os.scandir(self._temporary) if self._temporary.is_dir() else ():
                if entry.is_file() and time.time() - entry.stat().st_mtime > _STALE_S:
                    Path(entry.path).unlink(missing_ok=True)
                    removed += 1
        return removed


def prepared(root: Path) -> Disk:
    """The storage in `root`, made where it is missing."""
    disk = Disk(root)
    with named(disk.place):
        for name in (BLOBS, JOBS, "tmp"):
            (root / name).mkdir(parents=True, exist_ok=True)
    return disk


def _younger(path: Path, seconds: float) -> bool:
    return seconds > 0 and time.time() - path.stat().st_mtime < seconds


def _make_folders(folder: Path) -> Sequence[Path]:
    """Make `folder`; the folders in which a new entry appeared, which are to be synced too."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
    return [one.parent for one in missing]


def _write(path: Path, content: bytes | Path) -> None:
    with path.open("xb") as stream:
        if isinstance(content, bytes):
            stream.write(content)
            return
        with content.open("rb") as source:
            shutil.copyfileobj(source, stream, 1 << 20)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        _sync(folder)
