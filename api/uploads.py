"""Bytes from a request into the storage as they come: never whole in memory, never parsed, checked on the way."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

from flask import request

from api.problems import FieldError, Problem
from db import files as rows
from db.engine import Database
from jobs.errors import StorageUnavailable
from storage.files import Storage, TooLarge

CHUNK = 1 << 18
"""Bytes read at a time: large enough that Python's share is small, small enough for 64 uploads at once."""

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_SHA256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):\s*(?=,|$)")
"""RFC 9530: a dictionary of algorithms; ours is the one that the file's id is made of."""


class StoredFile(NamedTuple):
    """An uploaded file as the API answers it."""

    id: str
    size: int
    media_type: str


def read_chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """The body in chunks; a connection that breaks is the caller's problem and not the storage's."""
    came = 0
    while True:
        try:
            chunk = stream.read(CHUNK)
        except OSError:
            raise Problem("body-cut-short") from None
        if not chunk:
            break
        came += len(chunk)
        yield chunk
    # gunicorn ends the stream without a word where the client closed early, and werkzeug trusts it to have checked.
    chunked = "Transfer-Encoding" in request.headers
    if not chunked and request.content_length is not None and came < request.content_length:
        raise Problem("body-cut-short")


class Upload:
    """One file on its way: remembers its first bytes, and holds its hash against an announced one at the end."""

    def __init__(self, chunks: Iterable[bytes], announced: bytes | None = None) -> None:
        """`announced` is the SHA-256 that the sender gave."""
        self._chunks, self._announced = chunks, announced
        self._head = b""

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256() if self._announced is not None else None
        for chunk in self._chunks:
            if len(self._head) < 132:
                self._head += chunk[:132]
            if digest is not None:
                digest.update(chunk)
            yield chunk
        # Raised inside the storage's own loop, so that bytes which are not what they should be are never kept.
        if digest is not None and digest.digest() != self._announced:
            raise Problem("digest-mismatch")

    def media_type(self) -> str:
        """What the first bytes say (no parsing); a name or type that the sender gives is not trusted."""
        if self._head[128:132] == b"DICM":
            return "application/dicom"
        return next((media for magic, media in _MAGIC if self._head.startswith(magic)), "application/octet-stream")


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"PK\x03\x04", "application/zip"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"PAR1", "application/vnd.apache.parquet"),
)


def store(upload: Upload, storage: Storage, limit: int) -> StoredFile:
    """Put the bytes into the storage; raises 413 above `limit` bytes."""
    try:
        stored = storage.put(upload, limit)
    except TooLarge:
        raise Problem("body-too-large", f"A file may have at most {limit} bytes.") from None
    return StoredFile(stored.digest, stored.size, upload.media_type())


def hold(database: Database, storage: Storage, caller_id: int, files: Iterable[StoredFile]) -> None:
    """Record that the caller uploaded these files; raises `StorageUnavailable` where the bytes are gone by then.

    From the record on no sweep takes them. One that had begun with equal bytes, long without an owner, and that died
    half way, may have taken them before: then the caller sends them again.
    """
    for file in files:
        rows.add(database, caller_id, file.id, file.size, file.media_type)
        if not storage.exists(file.id):
            raise StorageUnavailable("The bytes were lost while they were recorded; send them again.")


def announced_of_file() -> bytes | None:
    """The SHA-256 in `X-Content-SHA256` (of the file, in a form too); None where none was sent."""
    text = request.headers.get("X-Content-SHA256")
    if text is None:
        return None
    if not _HEX.fullmatch(text):
        raise _bad_header("X-Content-SHA256", "Give the SHA-256 of the bytes as 64 hex digits.")
    return bytes.fromhex(text)


def announced_of_body() -> bytes | None:
    """The SHA-256 in `Content-Digest` (RFC 9530: of the whole body); None where none was sent."""
    text = request.headers.get("Content-Digest")
    if text is None:
        return None
    match = _SHA256.search(text)
    try:
        digest = base64.b64decode(match.group(1), validate=True) if match else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise _bad_header("Content-Digest", "Give sha-256=:<base64>: as RFC 9530 has it; other hashes are not checked.")
    return digest


def _bad_header(name: str, detail: str) -> Problem:
    return Problem("invalid-request", errors=[FieldError(f"#/headers/{name}", detail)])
