"""Any store that fsspec knows as storage (S3: storage/s3.py): an object appears whole when its upload is closed."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from storage.address import shown
from storage.cache import Cache
from storage.trouble import named


class Remote:
    """Paths are relative to the URL's folder, as storage/names.py makes them.

    There is no rename to rely on: what must not be seen half-written is one object, and objects are written once,
    under a content hash or a fence. `cache` is a local folder for blobs that are read here; they never change.
    """

    def __init__(self, url: str, cache: Path | None) -> None:
        self.place = shown(url)
        self._url = url
        self._copies = Cache(cache)
        self._lock = threading.Lock()
        self._of: int | None = None
        self._connection: tuple[Any, str] = (None, "")

    @property
    def _fs(self) -> Any:
        """The file system of this process: fsspec's event loop does not live on in a child of a fork."""
        with self._lock:
            if self._of != os.getpid():
                # The parent's is kept: at its end it would wait for an event loop that this process does not have.
                self._parents, self._connection, self._of = self._connection, self._connected(), os.getpid()
            return self._connection[0]

    def _connected(self) -> tuple[Any, str]:
        """The file system, and the folder in it."""
        system, root = fsspec.core.url_to_fs(self._url)
        return system, str(root).rstrip("/")

    def _asking(self) -> AbstractContextManager[None]:
        return named(self.place)

    def _full(self, path: str) -> str:
        _ = self._fs
        return f"{self._connection[1]}/{path}"

    @contextmanager
    def writing(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A local temporary file, deleted at the end."""
        with self._copies.uploading() as folder:
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
        # Never conditional: bytes that are there already are the same, and their age has to start anew.
        self.write_many({path: temporary})

    def write_many(self, files: Mapping[str, bytes | Path]) -> None:
        """Upload many files: bytes all at once, local files one after the other."""
        small = {self._full(path): content for path, content in files.items() if isinstance(content, bytes)}
        with self._asking():
            if small:
                self._fs.pipe(small)
            for path, content in files.items():
                if isinstance(content, Path):
                    self._fs.put_file(str(content), self._full(path))

    def create_many(self, files: Mapping[str, bytes | Path]) -> None:
        """As `write_many`, of files that nobody writes twice."""
        self.write_many(files)

    def open(self, path: str) -> BinaryIO:
        """Read a file; raises FileNotFoundError."""
        with self._asking():
            return cast(BinaryIO, self._fs.open(self._full(path), "rb"))

    def local(self, path: str) -> Path:
        """A local copy in the cache; raises FileNotFoundError."""

        def fetch(copy: Path) -> None:
            self._fs.get_file(self._full(path), str(copy))

        with self._asking():
            return self._copies.copy(path, fetch)

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        with self._asking():
            return bool(self._fs.isfile(self._full(path)))

    def delete(self, path: str, older_s: float = 0.0) -> bool:
        """Delete an object; False, and it stays, where it is younger than `older_s` seconds.

        Between the look and the delete an upload may come in: milliseconds, an hour after the last owner went.
        """
        self._copies.drop(path)
        with suppress(FileNotFoundError), self._asking():
            if older_s > 0 and self._age(path) < older_s:
                return False
            self._fs.rm_file(self._full(path))
        return True

    def _age(self, path: str) -> float:
        modified: Any = self._fs.modified(self._full(path))
        return time.time() - float(modified.timestamp())

    def delete_tree(self, path: str) -> None:
        """Delete everything under a prefix."""
        with suppress(FileNotFoundError), self._asking():
            self._fs.rm(self._full(path), recursive=True)

    def folders(self, path: str) -> list[str]:
        """Names of the prefixes directly under `path`, sorted."""
        return self._entries(path, "directory")

    def files(self, path: str) -> list[str]:
        """Names of the objects directly under `path`, sorted."""
        return self._entries(path, "file")

    def _entries(self, path: str, kind: str) -> list[str]:
        found: list[dict[str, Any]] = []
        with suppress(FileNotFoundError), self._asking():
            self._fs.invalidate_cache()
            found = self._fs.ls(self._full(path), detail=True)
        return sorted(os.path.basename(entry["name"].rstrip("/")) for entry in found if entry["type"] == kind)

    def check(self, thorough: bool = False) -> str:
        """Write and delete a small object; raises `StorageUnavailable`. What the store is, in words."""
        path = self._full(f"tmp/{secrets.token_hex(8)}.check")
        with self._asking():
            self._fs.pipe_file(path, b"")
            self._fs.rm_file(path)
        return self.place

    def clean(self) -> int:
        """Nothing: unfinished uploads are the store's to drop."""
        return 0
