"""Checkpoints: the newest valid one of any earlier attempt, whatever was damaged or interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.running import Checkpoints
from storage.files import Storage
from tests.unit.test_storage_files import emptied

JOB = "0198c2a4-0000-7000-8000-000000000002"


@pytest.fixture(params=["file", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    emptied()
    urls = {"file": tmp_path.as_uri, "memory": lambda: "memory://bucket"}
    url = urls[request.param]() if request.param in urls else request.getfixturevalue("s3").url()
    yield Storage(url, cache=tmp_path / "cache")
    emptied()


def segments(folder: Path, *numbers: int) -> list[Path]:
    """Files of a work that grows; each has its number in it, above a MiB long."""
    folder.mkdir(exist_ok=True)
    found = [folder / f"rows-{number}" for number in numbers]
    for path, number in zip(found, numbers, strict=True):
        path.write_bytes(b"%d" % number * ((1 << 20) + 1))
    return found


def contents(paths: list[Path]) -> list[bytes]:
    return [path.read_bytes()[:1] for path in paths]


def written(storage: Storage, fence: int) -> list[str]:
    return storage._place.files(f"jobs/{JOB}/{fence}/checkpoints/segments")


def files(step: int) -> dict[str, bytes]:
    return {"model.safetensors": b"weights %d" % step, "optimizer.safetensors": b"moments %d" % step}


def test_given_no_checkpoint_when_asked_then_there_is_none(storage: Storage) -> None:
    store: Checkpoints = storage.checkpoints(JOB, 1)
    assert store.newest() is None


def test_given_checkpoints_when_saved_then_the_newest_comes_back_and_old_ones_go(storage: Storage) -> None:
    store = storage.checkpoints(JOB, 1)
    for step in range(5):
        store.save(files(step), {"step": step})
    assert store.newest() == (files(4), {"step": 4})
    assert storage._place.folders(f"jobs/{JOB}/1/checkpoints") == ["4", "5"]


def test_given_an_earlier_attempt_when_the_next_begins_then_it_goes_on_from_there(storage: Storage) -> None:
    storage.checkpoints(JOB, 1).save(files(10), {"step": 10})
    second = storage.checkpoints(JOB, 3)
    assert second.newest() == (files(10), {"step": 10})
    second.save(files(11), {"step": 11})
    assert storage.checkpoints(JOB, 5).newest() == (files(11), {"step": 11})
    assert storage._place.folders(f"jobs/{JOB}/1/checkpoints") == ["1"]  # another's are not ours to delete


def test_given_a_frozen_trainer_when_it_wakes_then_it_neither_reads_nor_prunes_its_successors(storage: Storage) -> None:
    frozen, owner = storage.checkpoints(JOB, 1), storage.checkpoints(JOB, 3)
    frozen.save(files(1), {"step": 1})
    owner.save(files(2), {"step": 2})
    for step in (90, 91, 92):
        frozen.save(files(step), {"step": step})
    assert frozen.newest() == (files(92), {"step": 92})
    assert owner.newest() == (files(2), {"step": 2})


@pytest.mark.parametrize("damage", ["model.safetensors", "manifest.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_given_a_damaged_checkpoint_when_asked_then_the_one_before_is_given(
    storage: Storage, damage: str, how: str
) -> None:
    store = storage.checkpoints(JOB, 1)
    store.save(files(1), {"step": 1})
    store.save(files(2), {"step": 2})
    path, place = f"jobs/{JOB}/1/checkpoints/2/{damage}", storage._place
    with place.open(path) as stream:
        content = stream.read()
    if how == "gone":
        place.delete(path)
    else:
        place.write_many(
            {path: content[:-3] if how == "cut" else content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]}
        )
    assert storage.checkpoints(JOB, 2).newest() == (files(1), {"step": 1})


def test_given_a_crash_before_the_manifest_when_asked_then_the_half_is_not_a_checkpoint(storage: Storage) -> None:
    storage.checkpoints(JOB, 1).save(files(1), {"step": 1})
    storage._place.write_many({f"jobs/{JOB}/1/checkpoints/2/model.safetensors": b"weights 2"})
    again = storage.checkpoints(JOB, 1)
    assert again.newest() == (files(1), {"step": 1})
    again.save(files(3), {"step": 3})  # does not write into the half
    assert again.newest() == (files(3), {"step": 3})


def test_given_a_work_that_grows_when_saved_then_only_what_is_new_is_written(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given three checkpoints of one, two and three segments, then each segment goes to the storage once."""
    told: list[str] = []
    write = type(storage._place).create_many

    def telling(place: Any, given: dict[str, Any]) -> None:
        told.extend(path.rpartition("/")[2] for path in given)
        write(place, given)

    monkeypatch.setattr(type(storage._place), "create_many", telling)
    store = storage.checkpoints(JOB, 1)
    for last in range(3):
        store.save({}, {"last": last}, segments(tmp_path / "work", *range(last + 1)))
    assert [name for name in told if name != "manifest.json"] == ["rows-0", "rows-1", "rows-2"]
    assert store.newest() == ({}, {"last": 2})
    (tmp_path / "again").mkdir()
    assert contents(store.segments(tmp_path / "again")) == [b"0", b"1", b"2"]


def test_given_an_earlier_attempts_segments_when_the_next_saves_then_they_stay_where_they_are(
    storage: Storage, tmp_path: Path
) -> None:
    """Given segments under fence 1, then a checkpoint of fence 3 points to them and adds its own, and fence 4 finds
    all of them in order, whatever a woken attempt 1 writes under the same names meanwhile."""
    first = storage.checkpoints(JOB, 1)
    first.save({}, {"last": 1}, segments(tmp_path / "first", 0, 1))
    second = storage.checkpoints(JOB, 3)
    assert second.newest() == ({}, {"last": 1})
    (tmp_path / "second").mkdir()
    gone_on = second.segments(tmp_path / "second")
    second.save({}, {"last": 7}, [*gone_on, *segments(tmp_path / "second", 7)])
    first.save({}, {"last": 9}, [tmp_path / "first" / "rows-0", *segments(tmp_path / "first", 1, 9)])
    assert (written(storage, 1), written(storage, 3)) == (["rows-0", "rows-1", "rows-9"], ["rows-7"])

    third = storage.checkpoints(JOB, 4)
    assert third.newest() == ({}, {"last": 7})
    (tmp_path / "third").mkdir()
    assert contents(third.segments(tmp_path / "third")) == [b"0", b"1", b"7"]


def test_given_an_attempt_that_begins_anew_when_it_saves_then_it_writes_its_own(
    storage: Storage, tmp_path: Path
) -> None:
    """Given a checkpoint that the next attempt does not go on from, then none of its segments is taken for its own."""
    storage.checkpoints(JOB, 1).save({}, {"last": 4}, segments(tmp_path / "first", 4))
    anew = storage.checkpoints(JOB, 2)
    anew.newest()
    (tmp_path / "first" / "rows-4").write_bytes(b"other")
    anew.save({}, {"last": 4}, [tmp_path / "first" / "rows-4"])
    assert written(storage, 2) == ["rows-4"]
    assert anew.newest() == ({}, {"last": 4})


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_given_a_damaged_segment_when_asked_then_the_checkpoint_before_it_is_given(
    storage: Storage, tmp_path: Path, how: str
) -> None:
    store = storage.checkpoints(JOB, 1)
    store.save({}, {"last": 0}, segments(tmp_path / "work", 0))
    store.save({}, {"last": 1}, segments(tmp_path / "work", 0, 1))
    path = f"jobs/{JOB}/1/checkpoints/segments/rows-1"
    with storage._place.open(path) as stream:
        content = stream.read()
    if how == "gone":
        storage._place.delete(path)
    else:
        storage._place.write_many({path: content[:-1] if how == "cut" else content[:-1] + b"x"})
    again = storage.checkpoints(JOB, 2)
    assert again.newest() == ({}, {"last": 0})
    (tmp_path / "again").mkdir()
    assert contents(again.segments(tmp_path / "again")) == [b"0"]


def test_given_a_succeeded_job_when_the_keeper_sweeps_then_its_checkpoints_go_and_its_files_stay(
    storage: Storage, tmp_path: Path
) -> None:
    storage.checkpoints(JOB, 1).save(files(1), {}, segments(tmp_path / "work", 0))
    storage.checkpoints(JOB, 2).save(files(2), {}, segments(tmp_path / "work", 1))
    storage.put_artifact(JOB, 2, "table.csv", b"rank")
    storage.delete_job(JOB, keep_fence=2)
    assert (storage.fences(JOB), storage.checkpoints(JOB, 2).newest(), written(storage, 2)) == ([2], None, [])
    assert storage.read_artifact(JOB, 2, "table.csv") == b"rank"
