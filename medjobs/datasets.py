"""The data-set part of the Python client: add, follow, list, remove.

Imports the client and the standard library alone.
"""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from medjobs.client import Client, Job, MedjobsError, WaitTimeout


class DataSet:
    """A data set as it was when last seen; `data` holds the server's whole answer."""

    def __init__(self, client: Client, data: dict[str, Any]) -> None:
        """`data`: the data set as the server answered it."""
        self.client, self.data = client, data

    def __repr__(self) -> str:
        return f"<DataSet {self.name} {self.state}>"

    @property
    def name(self) -> str:
        """Its name, by which a training takes it."""
        return str(self.data["name"])

    @property
    def state(self) -> str:
        """validating, ready or rejected."""
        return str(self.data["state"])

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Why it was rejected: file, row and column of each problem, and what is wrong there."""
        return list(self.data.get("problems") or ())

    @property
    def job(self) -> Job:
        """The job that reads it, with its events and files."""
        return self.client.job(str(self.data["job"]))

    def refresh(self) -> Self:
        """Ask the server again."""
        self.data = self.client.get(_path(self.name))
        return self

    def wait(self, timeout: float | None = None) -> Self:
        """Return once it is ready or rejected; raise `WaitTimeout` after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.state == "validating":
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                title = f"The data set {self.name} is still being read"
                raise WaitTimeout("wait-timeout", title, "It goes on; wait again.")
            self.job.wait(left)
            self.refresh()
        return self

    def remove(self) -> None:
        """Forget the name; a training that has pinned it keeps what it needs."""
        self.client.send("DELETE", _path(self.name))


class DataSets:
    """The caller's data sets. Iterate over it, or `get` one by its name."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __iter__(self) -> Iterator[DataSet]:
        return iter([DataSet(self.client, one) for one in self.client.get("/v1/datasets")["datasets"]])

    def get(self, name: str) -> DataSet:
        """The data set of that name; raises `MedjobsError` (404) where there is none."""
        return DataSet(self.client, self.client.get(_path(name)))

    def add(
        self,
        name: str,
        format: str,
        *files: str | os.PathLike[str],
        options: Mapping[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> DataSet:
        """Upload the files, in the order that docs/data-sets.md gives for the format, and have them read.

        A folder is sent as a zip of what is in it; what begins with `sha256:` is an uploaded file. The same name with
        the same content is the same data set; with other content it is refused (`dataset-exists`).
        """
        ids = [self._file(file, progress) for file in files]
        body = {"name": name, "format": format, "files": ids, "options": dict(options or {})}
        return DataSet(self.client, self.client.send("POST", "/v1/datasets", json=body).json())

    def _file(self, file: str | os.PathLike[str], progress: Callable[[int], None] | None) -> str:
        if isinstance(file, str) and file.startswith("sha256:"):
            return file
        path = Path(file)
        if not path.is_dir():
            return self.client.upload(path, progress)
        with tempfile.TemporaryDirectory(prefix="medjobs-") as place:
            return self.client.upload(zipped(path, Path(place) / "folder.zip"), progress)


def zipped(folder: Path, target: Path) -> Path:
    """Write every file below `folder` (hidden ones left out) into the zip `target`, and return that.

    The same files give the same bytes wherever and whenever they are packed, and with it the same file id.
    """
    inside = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    named = [path for path in inside if not any(part.startswith(".") for part in path.parts)]
    if not named:
        raise MedjobsError("empty-folder", f"The folder {folder} holds no files", "Name a folder with files in it.")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in named:
            entry = zipfile.ZipInfo(path.as_posix())  # its date is 1980 for all, so that bytes depend on content alone
            with (folder / path).open("rb") as source, archive.open(entry, "w", force_zip64=True) as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
    return target


def _path(name: str) -> str:
    return f"/v1/datasets/{quote(name, safe='')}"
