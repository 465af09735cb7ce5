"""Local copies of blobs that lie in a bucket: read once or twice, then gone."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

UNUSED_S = 3600.0
"""Copies that nobody asked for so long are deleted: a deleted patient's file must not live on in a worker's cache."""

EVERY_S = 600.0
"""Pause between two looks for such copies."""


class Cache:
    """A folder that several processes of a host may share; without one, a private folder that ends with the process."""

    def __init__(self, folder: Path | None) -> None:
        """Makes nothing yet; copies that an earlier process left are looked at with the first new one."""
        self._folder = folder
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def copy(self, path: str, fetch: Callable[[Path], None]) -> Path:
        """The local copy of `path`; `fetch` writes one to the place that it is given. Its errors come through."""
        found = self._place("blobs") / path
        with suppress(FileNotFoundError):
            os.utime(found)
            return found
        found.parent.mkdir(parents=True, exist_ok=True)
        part = found.with_name(f".{secrets.token_hex(8)}")
        try:
            fetch(part)
            part.replace(found)
        finally:
            part.unlink(missing_ok=True)
        self._sweep_later()
        return found

    def drop(self, path: str) -> None:
        """Forget the copy of `path`."""
        (self._place("blobs") / path).unlink(missing_ok=True)

    def uploading(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for one upload, on the cache's disk: /tmp may be memory, and an upload is up to gigabytes."""
        self._sweep_later()
        return tempfile.TemporaryDirectory(dir=self._place("uploads"))

    def sweep(self) -> int:
        """Delete what was not asked for in a while, and uploads of processes that died; how many."""
        gone = 0
        for entry in self._place("blobs").rglob("*"):
            gone += entry.is_file() and _old(entry) and _deleted(entry)
        for entry in self._place("uploads").iterdir():
            # The file in it is written to as long as the upload goes on.
            if _old(entry) and all(_old(one) for one in entry.glob("*")):
                shutil.rmtree(entry, ignore_errors=True)
                gone += 1
        return gone

    def _sweep_later(self) -> None:
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(EVERY_S, self._sweep_and_go_on)
                self._timer.daemon = True
                self._timer.name = "storage-cache"
                self._timer.start()

    def _sweep_and_go_on(self) -> None:
        with self._lock:
            self._timer = None
        with suppress(OSError):
            self.sweep()
            if any(entry.is_file() for entry in self._place("blobs").rglob("*")):
                self._sweep_later()

    def _place(self, name: str) -> Path:
        with self._lock:
            if self._folder is None:
                self._own = tempfile.TemporaryDirectory(prefix="medjobs-cache-", ignore_cleanup_errors=True)
                self._folder = Path(self._own.name)
            place = self._folder / name
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        return place


def _old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > UNUSED_S
    except FileNotFoundError:
        return False


def _deleted(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True
