"""The storage: on a disk, and on any store that fsspec knows (its in-memory one, and S3)."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import fsspec
import pytest

from jobs.errors import StorageUnavailable
from storage import names
from storage.files import BadName, Storage, Stored, TooLarge

JOB = "0198c2a4-0000-7000-8000-000000000001"


def emptied() -> None:
    """Nothing lies in fsspec's memory."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@pytest.fixture(params=["file", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "file":
        yield Storage((tmp_path / "with space").as_uri())
        return
    emptied()
    url = request.getfixturevalue("s3").url() if request.param == "s3" else "memory://bucket/prefix"
    yield Storage(url, cache=tmp_path / "cache")
    emptied()


def leftovers(tmp_path: Path) -> list[str]:
    return [entry.name for entry in tmp_path.rglob("tmp/*") if entry.is_file()]


def test_given_bytes_when_put_then_they_are_found_under_their_sha256(storage: Storage) -> None:
    body = b"DICM" * 1000
    stored = storage.put([body[:1000], body[1000:]], limit=4000)
    assert stored == Stored("sha256:" + hashlib.sha256(body).hexdigest(), 4000)
    assert storage.local(stored.digest).read_bytes() == body
    with storage.open(stored.digest) as stream:
        assert stream.read() == body
    assert storage.exists(stored.digest)
    assert storage.intact(stored.digest)
    assert storage.put([body], limit=4000) == stored


def test_given_no_bytes_when_put_then_it_is_the_empty_file(storage: Storage) -> None:
    stored = storage.put([], limit=10)
    assert stored == Stored("sha256:" + hashlib.sha256(b"").hexdigest(), 0)
    assert storage.local(stored.digest).read_bytes() == b""


def test_given_more_than_the_limit_when_put_then_nothing_stays(storage: Storage, tmp_path: Path) -> None:
    taken: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"x" * 10

    with pytest.raises(TooLarge) as refused:
        storage.put(chunks(), limit=25)
    assert refused.value.limit == 25
    assert len(taken) == 3  # it stopped reading
    assert leftovers(tmp_path) == []


def test_given_a_client_that_breaks_off_when_put_then_its_own_error_comes_through(
    storage: Storage, tmp_path: Path
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        storage.put(chunks(), limit=100)
    assert leftovers(tmp_path) == []


def test_given_unknown_digests_when_asked_then_they_are_not_there(storage: Storage) -> None:
    digest = "sha256:" + "0" * 64
    assert not storage.exists(digest)
    assert not storage.intact(digest)
    for ask in (storage.local, storage.open):
        with pytest.raises(FileNotFoundError):
            ask(digest)
    assert storage.delete(digest)


def test_given_fresh_bytes_when_a_sweep_deletes_old_ones_then_they_stay(storage: Storage) -> None:
    stored = storage.put([b"uploaded again just now"], limit=100)
    assert not storage.delete(stored.digest, older_s=3600)
    assert storage.exists(stored.digest)
    assert storage.delete(stored.digest)
    assert not storage.exists(stored.digest)


def test_given_fresh_bytes_when_a_sweep_comes_then_they_are_not_even_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a process that dies at its first move, then fresh bytes are where they were."""
    storage = Storage((tmp_path / "storage").as_uri())
    stored = storage.put([b"uploaded again just now"], limit=100)

    def die(*_: object) -> None:
        raise AssertionError("moved")

    monkeypatch.setattr(Path, "rename", die)
    assert not storage.delete(stored.digest, older_s=3600)
    assert storage.exists(stored.digest)


def test_given_bytes_that_come_again_between_the_look_and_the_move_then_they_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage((tmp_path / "storage").as_uri())
    stored = storage.put([b"old"], limit=100)
    os.utime(storage.local(stored.digest), (1, 1))
    true = Path.rename

    def rename(self: Path, target: Path) -> Path:
        storage.put([b"old"], limit=100)
        return true(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert not storage.delete(stored.digest, older_s=3600)
    assert storage.intact(stored.digest)


def test_given_damaged_bytes_when_checked_then_they_are_not_intact(storage: Storage) -> None:
    stored = storage.put([b"pixels"], limit=100)
    path = names.blob(stored.digest)
    place = storage._place
    place.write_many({path: b"pixelz"})
    assert not storage.intact(stored.digest)


def test_given_artifacts_when_written_then_each_is_read_under_its_own_fence(storage: Storage) -> None:
    storage.put_artifacts(
        [(JOB, 1, "overlay.png", b"old"), (JOB, 3, "overlay.png", b"new"), (JOB, 3, "a/b.txt", b"deep")]
    )
    storage.put_artifact(JOB, 3, "overlay.png", b"newer")
    assert storage.read_artifact(JOB, 1, "overlay.png") == b"old"
    assert storage.read_artifact(JOB, 3, "overlay.png") == b"newer"
    assert storage.read_artifact(JOB, 3, "a/b.txt") == b"deep"
    assert storage.fences(JOB) == [1, 3]
    assert storage.folders_of_jobs() == [JOB]
    storage.delete_job(JOB, keep_fence=3)
    assert storage.fences(JOB) == [3]
    storage.delete_job(JOB)
    assert storage.folders_of_jobs() == []
    storage.delete_job(JOB)
    with pytest.raises(FileNotFoundError):
        storage.read_artifact(JOB, 3, "overlay.png")


def test_given_a_file_as_an_artifact_when_written_then_its_bytes_lie_there_and_it_stays(
    storage: Storage, tmp_path: Path
) -> None:
    """Given a file of some MiB and bytes beside it, then both are read back, and the file is not taken away."""
    path = tmp_path / "table.csv"
    path.write_bytes(os.urandom(5 << 20))
    storage.put_artifacts([(JOB, 1, "table.csv", path), (JOB, 1, "small.txt", b"x"), (JOB, 1, "again.csv", path)])
    assert storage.read_artifact(JOB, 1, "table.csv") == storage.read_artifact(JOB, 1, "again.csv") == path.read_bytes()
    assert storage.read_artifact(JOB, 1, "small.txt") == b"x"


def test_given_a_full_disk_in_the_middle_of_a_file_when_written_then_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, path = Storage((tmp_path / "storage").as_uri()), tmp_path / "table.csv"
    path.write_bytes(b"x" * (2 << 20))

    def cut(source: BinaryIO, target: BinaryIO, length: int) -> None:
        target.write(source.read(length))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", cut)
    with pytest.raises(StorageUnavailable, match="full"):
        storage.put_artifact(JOB, 1, "table.csv", path)
    assert storage.fences(JOB) == []  # (the folders that were made have no file)
    assert leftovers(tmp_path / "storage") == []


@pytest.mark.parametrize("storage", ["file", "memory"], indirect=True)  # the name never reaches the store
@pytest.mark.parametrize(
    "name",
    ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "", ".", ".hidden", "a\\b", "a\x00b", "x" * 201, "a/" * 7 + "b",
     "über", "a\n", "con.", "~/x", "a:b", "trailing "],
)  # fmt: skip
def test_given_a_name_that_leads_elsewhere_when_used_then_it_is_refused_and_nothing_written(
    storage: Storage, name: str, tmp_path: Path
) -> None:
    with pytest.raises(BadName):
        storage.put_artifacts([(JOB, 1, "good.png", b"x"), (JOB, 1, name, b"x")])
    with pytest.raises(FileNotFoundError):
        storage.read_artifact(JOB, 1, name)
    assert storage.fences(JOB) == []


@pytest.mark.parametrize("storage", ["file", "memory"], indirect=True)
@pytest.mark.parametrize(
    "digest", ["sha256:..", "md5:" + "0" * 64, "sha256:" + "A" * 64, "sha256:" + "0" * 64 + "\n", ""]
)
def test_given_a_digest_that_is_none_when_used_then_it_is_refused(storage: Storage, digest: str) -> None:
    with pytest.raises(BadName):
        storage.local(digest)
    with pytest.raises(BadName):
        storage.delete(digest)


def test_given_a_job_id_that_leads_elsewhere_when_used_then_it_is_refused(storage: Storage) -> None:
    for job_id, fence in (("../other", 1), (JOB, 0), (JOB, -1)):
        with pytest.raises(BadName):
            storage.put_artifact(job_id, fence, "x", b"")


# -- the disk ----------------------------------------------------------------------------------------------------


def test_given_a_full_disk_when_written_then_the_error_names_the_disk_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path.as_uri())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write in (lambda: storage.put([b"x"], 10), lambda: storage.put_artifact(JOB, 1, "a.png", b"x")):
        with pytest.raises(StorageUnavailable) as refused:
            write()
        assert str(tmp_path) in str(refused.value)
        assert "full" in str(refused.value)
        assert refused.value.retryable
    monkeypatch.undo()
    assert leftovers(tmp_path) == []
    assert not list(tmp_path.rglob("a.png"))
    storage.check()


def test_given_a_device_without_space_when_written_through_a_buffer_then_the_error_is_ours(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    real = os.fdopen

    def to_full_device(handle: int, mode: str) -> object:
        os.close(handle)
        return Path("/dev/full").open("wb")

    os.fdopen = to_full_device  # type: ignore[assignment]
    try:
        with pytest.raises(StorageUnavailable, match="full"):
            storage.put([b"x" * 100_000], 10**6)
    finally:
        os.fdopen = real
    assert leftovers(tmp_path) == []


def test_given_a_put_when_it_returns_then_file_and_folders_were_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, told = Storage(tmp_path.as_uri()), []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        told.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        real_sync(handle)

    def replace(self: Path, target: Path) -> Path:
        told.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    storage.put([b"x"], 10)
    assert told[:2] == ["file", "rename"]
    assert told.count("folder") == 2  # blobs/ab, and blobs in which it appeared
    told.clear()
    storage.put_artifacts([(JOB, 1, f"{number}.png", b"x") for number in range(5)])
    assert told[:10] == ["file"] * 5 + ["rename"] * 5
    assert told.count("folder") == 3  # jobs, jobs/<job>, jobs/<job>/1: once each, not per file


def test_given_a_crash_in_the_middle_when_a_day_has_passed_then_its_temporary_file_goes(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    old, new = tmp_path / "tmp" / "old", tmp_path / "tmp" / "new"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert storage.clean() == 1
    assert leftovers(tmp_path) == ["new"]


def test_given_a_folder_that_cannot_be_written_when_checked_then_the_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="doctor"):
        Storage((tmp_path / "file" / "below").as_uri())
