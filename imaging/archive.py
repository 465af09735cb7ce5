"""Zip files: their members one after another, under limits, without a name ever leaving."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imaging.limits import DEFAULT_LIMITS, Limits
from jobs.errors import BadArchive, InputError, LimitExceeded

_CHUNK = 1 << 18
_ENCRYPTED = 0x1
_FREE_RATIO_BYTES = 1 << 20
"""The ratio is only looked at beyond this much: a blank image of a megabyte harms nobody."""


@dataclass(frozen=True)
class Member:
    """One file of an archive: its bytes, or why they cannot be had. Its name may hold a patient's and is not kept."""

    position: int
    """From 0, counting files only, in the order of the archive's directory."""

    data: bytes | None
    error: InputError | None = None


def is_zip(data: bytes) -> bool:
    """Whether the content begins as a zip with at least one member does."""
    return data.startswith(b"PK\x03\x04")


def count_members(source: Path | BinaryIO, limits: Limits = DEFAULT_LIMITS) -> int:
    """How many files `members` will yield."""
    with _opened(source) as archive:
        return len(_files(archive, limits))


def members(source: Path | BinaryIO, limits: Limits = DEFAULT_LIMITS) -> Iterator[Member]:
    """Yield the files of a zip one at a time.

    A member that cannot be read carries an error and the next one follows; what endangers the whole (not a zip, too
    many members, too many bytes in sum) raises `BadArchive` or `LimitExceeded`.
    """
    with _opened(source) as archive:
        left = limits.max_archive_bytes
        for position, info in enumerate(_files(archive, limits)):
            try:
                data = _read(archive, info, min(left, limits.max_bytes), limits)
            except InputError as error:
                if left < limits.max_bytes and isinstance(error, LimitExceeded) and error.facts["limit"] == "max_bytes":
                    raise _too_large(limits) from None
                yield Member(position, None, error)
                continue
            left -= len(data)
            yield Member(position, data)


def _opened(source: Path | BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, EOFError, NotImplementedError):
        raise BadArchive from None


def _files(archive: zipfile.ZipFile, limits: Limits) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > limits.max_archive_members:
        allowed = limits.max_archive_members
        raise LimitExceeded("The archive holds too many files.", limit="max_archive_members", allowed=allowed)
    return [info for info in infos if not info.is_dir() and not _litter(info.filename)]


def _litter(name: str) -> bool:
    """What operating systems leave in archives."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return last.startswith(".") or name.startswith("__MACOSX/") or last in ("Thumbs.db", "desktop.ini")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int, limits: Limits) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise BadArchive("A file of the archive is encrypted; pack it without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadArchive("A file of the archive is packed by another method than deflate; pack it again.")
    parts: list[bytes] = []
    size = 0
    try:
        with archive.open(info) as file:
            while part := file.read(_CHUNK):
                size += len(part)
                # The sizes that the directory states are a claim; only what really comes out counts.
                if size > most:
                    raise LimitExceeded(
                        "A file of the archive is too large.", limit="max_bytes", allowed=limits.max_bytes
                    )
                _check_ratio(size, info, limits)
                parts.append(part)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError):
        raise BadArchive("A file of the archive is damaged; pack it again.") from None
    return b"".join(parts)


def _check_ratio(size: int, info: zipfile.ZipInfo, limits: Limits) -> None:
    if size > _FREE_RATIO_BYTES and size > limits.max_archive_ratio * max(1, info.compress_size):
        allowed = limits.max_archive_ratio
        raise LimitExceeded("A file of the archive unpacks absurdly.", limit="max_archive_ratio", allowed=allowed)


def _too_large(limits: Limits) -> LimitExceeded:
    allowed = limits.max_archive_bytes
    return LimitExceeded("The archive unpacks to too many bytes.", limit="max_archive_bytes", allowed=allowed)
