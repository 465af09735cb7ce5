"""Any store that fsspec knows (S3 and others) as storage: an object appears whole when its upload is closed."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from storage.trouble import named


class Remote:
    """Paths are relative to the URL's folder, as storage/names.py makes them.

    There is no rename to rely on: what must not be seen half-written is one object, and objects are written once,
    under a content hash or a fence. `cache` is a local folder for blobs that are read here; they never change.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self.place = url.split("?")[0]
        self._fs, root = fsspec.core.url_to_fs(url)
        self._root = str(root).rstrip("/")
        self._cache = cache

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def writing(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A local temporary file, deleted at the end."""
        with tempfile.TemporaryDirectory(prefix="medjobs-upload-") as folder:
            path = Path(folder) / "file"
            with named(folder):
                stream = path.open("wb")
            try:
                yield stream, path
            finally:
                with suppress(OSError):
                    stream.close()

    def publish(self, stream: BinaryIO, temporary: Path, path: str) -> None:
        """Upload the written file."""
        with named(str(temporary.parent)):
            stream.flush()
        with named(self.place):
            self._fs.put_file(str(temporary), self._full(path))

    def write_many(self, files: Mapping[str, bytes | Path]) -> None:
        """Upload many files: bytes all at once, local files one after the other, in parts where the store has them."""
        small = {self._full(path): content for path, content in files.items() if isinstance(content, bytes)}
        with named(self.place):
            if small:
                self._fs.pipe(small)
            for path, content in files.items():
                if isinstance(content, Path):
                    self._fs.put_file(str(content), self._full(path))

    def open(self, path: str) -> BinaryIO:
        """Read a file; raises FileNotFoundError."""
        with named(self.place):
            return cast(BinaryIO, self._fs.open(self._full(path), "rb"))

    def local(self, path: str) -> Path:
        """A local copy in the cache; raises FileNotFoundError."""
        copy = self._cache / path
        if copy.exists():
            return copy
        with named(self.place):
            if not self._fs.exists(self._full(path)):
                raise FileNotFoundError(path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f".{secrets.token_hex(8)}")
            try:
                self._fs.get_file(self._full(path), str(part))
                part.replace(copy)
            finally:
                part.unlink(missing_ok=True)
        return copy

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        with named(self.place):
            return bool(self._fs.isfile(self._full(path)))

    def delete(self, path: str, older_s: float = 0.0) -> bool:
        """Delete an object; False, and it stays, where it is younger than `older_s` seconds.

        Between the look and the delete an upload may come in: milliseconds, an hour after the last owner went.
        """
        (self._cache / path).unlink(missing_ok=True)
        with named(self.place), suppress(FileNotFoundError):
            if older_s > 0 and self._age(path) < older_s:
                return False
            self._fs.rm_file(self._full(path))
        return True

    def _age(self, path: str) -> float:
        modified: Any = self._fs.modified(self._full(path))
        return time.time() - float(modified.timestamp())

    def delete_tree(self, path: str) -> None:
        """Delete everything under a prefix."""
        with named(self.place), suppress(FileNotFoundError):
            self._fs.rm(self._full(path), recursive=True)

    def folders(self, path: str) -> list[str]:
        """Names of the prefixes directly under `path`, sorted."""
        return self._entries(path, "directory")

    def files(self, path: str) -> list[str]:
        """Names of the objects directly under `path`, sorted."""
        return self._entries(path, "file")

    def _entries(self, path: str, kind: str) -> list[str]:
        with named(self.place):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._full(path), detail=True)
            except FileNotFoundError:
                return []
        return sorted(os.path.basename(entry["name"].rstrip("/")) for entry in found if entry["type"] == kind)

    def check(self) -> None:
        """Write and delete a small object; raises `StorageUnavailable`."""
        path = self._full(f"tmp/{secrets.token_hex(8)}.check")
        with named(self.place):
            self._fs.pipe_file(path, b"")
            self._fs.rm_file(path)

    def clean(self) -> int:
        """Nothing: the store drops unfinished uploads by its own lifecycle rule (docs/operations.md)."""
        return 0
