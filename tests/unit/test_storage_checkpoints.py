"""Checkpoints: the newest valid one of any earlier attempt, whatever was damaged or interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from jobs.running import Checkpoints
from storage.files import Storage

JOB = "0198c2a4-0000-7000-8000-000000000002"


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    fsspec.filesystem("memory").store.clear()
    yield Storage(tmp_path.as_uri() if request.param == "file" else "memory://bucket", cache=tmp_path / "cache")
    fsspec.filesystem("memory").store.clear()


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
