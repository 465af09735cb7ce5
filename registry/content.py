"""What a version consists of: its files, and one hash over them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from db.records import VersionFile
from storage.files import Storage

MOST_BYTES = 4 << 30
"""Size of one file of a version."""


def content_of(files: Iterable[VersionFile]) -> str:
    """The sha256 (hex) over names and hashes of the files, in any order."""
    lines = sorted(f"{file.digest} {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def described(files: Mapping[str, bytes]) -> list[VersionFile]:
    """The files as the registry lists them, without storing anything."""
    return [
        VersionFile(path, f"sha256:{hashlib.sha256(body).hexdigest()}", len(body))
        for path, body in sorted(files.items())
    ]


def put(storage: Storage, files: Mapping[str, bytes]) -> list[VersionFile]:
    """Store the files as blobs, durable when this returns. Raises `StorageUnavailable`."""
    stored = [(path, storage.put([body], MOST_BYTES)) for path, body in sorted(files.items())]
    return [VersionFile(path, one.digest, one.size) for path, one in stored]
