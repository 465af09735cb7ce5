"""Bytes without an owner are swept away while somebody uploads them again, and the sweep dies in the middle of it."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from api.uploads import StoredFile, hold
from db import files, retention
from db.engine import Database
from jobs.errors import StorageUnavailable
from storage import names
from storage.files import Storage
from tests.jobs_in_a_database import caller

CONTENT = b"pixels"
GRACE_S = 3600.0


class Killed(BaseException):
    """Nothing is put in order after this."""


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage((tmp_path / "storage").as_uri())


def upload(database_url: str, storage: Storage, owner: int) -> str:
    """What the API does with a file: its bytes first, then whose it is."""
    database = Database(database_url)
    try:
        stored = storage.put([CONTENT], limit=100)
        hold(database, storage, owner, [StoredFile(stored.digest, stored.size, "image/png")])
        return stored.digest
    finally:
        database.close()


def test_given_a_sweep_that_dies_with_an_upload_moved_aside_then_the_uploader_hears_that_it_is_to_be_repeated(
    database: Database, database_url: str, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given old bytes without an owner: the sweep finds them old; they are uploaded again; the sweep moves the new ones
    aside and is killed. Then the upload that waits for its record fails, and its repetition leaves the bytes there."""
    owner = caller(database)
    digest = upload(database_url, storage, owner)
    path = tmp_path / "storage" / names.blob(digest)
    files.forget(database, owner, digest)
    os.utime(path, (1, 1))
    with database.write() as connection:
        connection.execute(text("UPDATE blobs SET idle_since = idle_since - 2 * :s"), {"s": GRACE_S})
    with ThreadPoolExecutor(1) as pool:
        uploads: list[Future[str]] = []
        true = Path.rename

        def rename(self: Path, target: Path) -> Path:
            """The sweep stands between its look and its move."""
            uploads.append(pool.submit(upload, database_url, storage, owner))
            while path.stat().st_mtime < 2:  # until the new bytes are there; their record waits for the sweep's
                time.sleep(0.01)
            true(self, target)
            raise Killed

        monkeypatch.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            retention.sweep_blobs(database, grace_s=GRACE_S, remove=lambda one: storage.delete(one, older_s=GRACE_S))
        monkeypatch.undo()
        with pytest.raises(StorageUnavailable, match="send them again"):
            uploads[0].result(30)
    assert not storage.exists(digest)
    assert upload(database_url, storage, owner) == digest
    assert storage.intact(digest)
    assert files.missing(database, owner, [digest]) == set()
