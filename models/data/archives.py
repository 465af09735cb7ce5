"""Tar and zip files of a data set: members one after another under limits; a name never leaves and never is a path."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from jobs.errors import DatasetInvalid
from models.data.problems import refuse

_CHUNK = 1 << 20


def text_members(path: Path, file: int, suffix: str, most: int, most_each: int, most_bytes: int) -> Iterator[str]:
    """The texts of all members whose name ends in `suffix`, sorted by nothing but their place in the archive.

    Raises `DatasetInvalid` for an archive with more than `most` members, a member of more than `most_each` bytes, or
    more than `most_bytes` unpacked bytes; for a name that leads out of the archive; and for text that is not UTF-8.
    """
    budget = Budget(most, most_each, most_bytes, file)
    for position, (name, opened) in enumerate(_members(path, file, budget)):
        if not name.endswith(suffix) or hidden(name):
            continue
        try:
            yield budget.read(opened).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise refuse(f"File {position + 1} of the archive is not UTF-8 text.", file=file) from None


class Budget:
    """How much may still come out of an archive. Only what really comes out is counted, not what headers claim."""

    def __init__(self, members: int, each: int, total: int, file: int) -> None:
        self.members, self.each, self.left, self.file = members, each, total, file

    def member(self, name: str) -> None:
        """Count a member and look at its name."""
        self.members -= 1
        if self.members < 0:
            raise refuse("The archive holds too many files.", file=self.file)
        if outside(name):
            raise refuse("A name in the archive is absolute or leads upwards (..); pack it again.", file=self.file)

    def read(self, opened: IO[bytes]) -> bytes:
        """The bytes of a member."""
        most = min(self.each, self.left)
        content = opened.read(most + 1)
        if len(content) > most:
            raise refuse("The archive unpacks to more bytes than are allowed.", file=self.file)
        self.left -= len(content)
        return content


def outside(name: str) -> bool:
    """Whether a member's name is absolute, leads upwards or has a drive letter."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":"


def hidden(name: str) -> bool:
    """What operating systems leave in archives."""
    last = PurePosixPath(name).name
    return last.startswith(".") or name.startswith("__MACOSX/") or last in ("Thumbs.db", "desktop.ini")


def _members(path: Path, file: int, budget: Budget) -> Iterator[tuple[str, IO[bytes]]]:
    broken = "The archive is damaged or is neither tar (plain, gz, bz2, xz) nor zip."
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    budget.member(info.filename)
                    if not info.is_dir():
                        with archive.open(info) as opened:
                            yield info.filename, opened
        else:
            with tarfile.open(path, "r|*") as tar:
                for entry in tar:
                    budget.member(entry.name)
                    content = tar.extractfile(entry) if entry.isreg() else None
                    if content is not None:
                        yield entry.name, content
                    tar.members = []  # type: ignore[attr-defined]  # Otherwise every header seen is kept.
    except DatasetInvalid:
        raise
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
    ):
        raise refuse(broken, file=file) from None
    except NotImplementedError:
        raise refuse(broken, file=file) from None
