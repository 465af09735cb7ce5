"""Data sets as folders of this host: the canonical files that a data set's own job made, checked at every use."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from db import reading
from db.engine import Database
from jobs.datasets import DataSet
from jobs.errors import DatasetInvalid
from storage.files import Storage


class DataSets:
    """The data sets that jobs pinned."""

    def __init__(self, db: Database, storage: Storage, cache: Path) -> None:
        """`cache`: a folder with one folder for each fingerprint, shared by the processes of a host."""
        self._db = db
        self._storage = storage
        self._cache = cache

    def local(self, pin: Mapping[str, Any]) -> DataSet:
        """The data set of a pin (`id` of its job, `name`, `fingerprint`).

        Raises `DatasetInvalid` where its files are gone or are not what they were, `StorageUnavailable` where the
        storage does not answer.
        """
        stored = reading.result(self._db, pin["id"])
        if stored is None:
            raise DatasetInvalid("The data set that this job was given is there no more; register it again.")
        item = stored.result["items"][0]
        place = self._cache / str(pin["fingerprint"])
        if not _intact(place, pin["fingerprint"]):
            self._fetch(place, pin, stored.fence, item["files"])
        return DataSet(pin["name"], pin["fingerprint"], item["format"], place, item)

    def _fetch(self, place: Path, pin: Mapping[str, Any], fence: int, names: list[str]) -> None:
        """Into a folder of our own and from there into its place: several processes may do so at once."""
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=self._cache) as fetching:
            fresh = Path(fetching) / "files"
            fresh.mkdir()
            for name in names:
                self._copy(pin["id"], fence, name, fresh / name)
            if not _intact(fresh, pin["fingerprint"]):
                raise DatasetInvalid("The stored files of this data set are damaged; register it again.")
            if place.exists():
                place.rename(Path(fetching) / "damaged")
            try:
                fresh.rename(place)
            except OSError:
                if not _intact(place, pin["fingerprint"]):
                    raise

    def _copy(self, job_id: str, fence: int, name: str, target: Path) -> None:
        try:
            with self._storage.open_artifact(job_id, fence, name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
        except FileNotFoundError:
            raise DatasetInvalid("A file of this data set was deleted from the storage; register it again.") from None


def _intact(place: Path, fingerprint: str) -> bool:
    """Whether the folder holds the very cases of that fingerprint. Imported here: the long worker's parent, which
    imports this module, has no use for numpy."""
    from models.data.canonical import fingerprint as computed
    from models.data.canonical import load

    try:
        return computed(load(place)) == fingerprint
    except ValueError:
        return False
