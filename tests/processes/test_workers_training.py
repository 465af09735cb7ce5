"""What a long job is given and what it tells: data sets, versions, devices, the job it runs again; metrics and logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from db import datasets, jobs, reading
from db.engine import Database
from db.models import add, owner
from db.records import Claim, Completion, Event
from jobs.errors import DatasetInvalid
from jobs.states import State
from models.data.canonical import MoleculeSet, dump, fingerprint
from registry.content import content_of, put
from tests.jobs_in_a_database import running
from tests.services.redis import RedisServer
from tests.services.workers import Stack
from workers.datasets import DataSets


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, sqlite_url, redis_server.url)
    yield made
    made.stop()


def train(stack: Stack, pins: dict[str, Any] | None = None, rerun_of: str | None = None, **params: Any) -> str:
    new = stack.new([], "toy-train", "long", params=params, seed=3, pins=pins, rerun_of=rerun_of)
    return stack.submit(new)[0]


def metrics(stack: Stack, job_id: str) -> list[int]:
    """Steps of the metric `loss`, in the order of the stream."""
    found = [event.data for event in everything(stack, job_id) if event.type == "metric"]
    return [data["step"] for data in found if data["name"] == "loss"]


def everything(stack: Stack, job_id: str) -> list[Event]:
    return reading.events(stack.db, job_id, limit=100_000)


CASES = MoleculeSet(
    smiles=("C", "CC", "CCO"), labels=np.array([[0.0], [1.0], [1.0]], np.float32), targets=("toxic",),
    split=np.array([0, 0, 2], np.uint8), key=np.array([1, 2, 3], np.uint64),
)  # fmt: skip


def data_set(stack: Stack) -> dict[str, Any]:
    """A data set, as the job of its kind leaves it; its pin."""
    new = stack.new([], "dataset")
    datasets.create(stack.db, new, "my-molecules", "0" * 64, max_queued=10)
    job_id, claim = new.id, claimed(stack.db, new.id)
    files = dump(CASES)
    stack.storage.put_artifacts([(job_id, claim.fence, name, content) for name, content in files.items()])
    item = {"format": "molecules", "fingerprint": fingerprint(CASES), "files": sorted(files)}
    done = Completion(job_id, claim.fence, State.SUCCEEDED, {"items": [item], "provenance": {}})
    assert jobs.complete(stack.db, [done]) == {job_id}
    return {"id": job_id, "name": "my-molecules", "fingerprint": item["fingerprint"]}


def claimed(db: Database, job_id: str, pool: str = "inference") -> Claim:
    (claim,) = jobs.claim(db, [job_id], "w", 60, pool)
    return claim


def test_a_training_is_given_the_data_set_and_the_version_that_were_pinned(stack: Stack) -> None:
    pin = data_set(stack)
    files = put(stack.storage, {"factor.json": b'{"factor": 7}'})
    add_version(stack, files)
    stack.worker("long")
    pins = {"dataset": pin, "parent": {"name": "older", "version": 1}}
    job_id = train(stack, pins, dataset="my-molecules", parent="older@production")
    (job,) = stack.wait([job_id])
    assert job.state == "succeeded", job.error
    (item,) = stack.result(job_id)["items"]
    assert (item["rows"], item["parent"]) == (3, 7)
    known = stack.result(job_id)["provenance"]
    assert known["pins"] == pins
    assert known["device"] == "cpu"
    assert {"python", "numpy", "medjobs"} <= set(known["libraries"])


def add_version(stack: Stack, files: Any) -> None:
    add(stack.db, name="older", kind="toy-scale", caller_id=None, content=content_of(files), manifest={}, files=files)


def test_a_data_set_is_fetched_once_and_again_where_the_copy_was_changed(stack: Stack) -> None:
    pin = data_set(stack)
    sets = DataSets(stack.db, stack.storage, stack.folder / "sets")
    found = sets.local(pin)
    assert (found.name, found.fingerprint, found.format) == ("my-molecules", fingerprint(CASES), "molecules")
    assert {path.name: path.read_bytes() for path in found.folder.iterdir()} == dump(CASES)
    kept = found.folder.stat().st_ino
    assert sets.local(pin).folder.stat().st_ino == kept
    meta = found.folder / "meta.json"
    meta.write_text(meta.read_text().replace("CCO", "CCN"))
    again = sets.local(pin)
    assert again.folder.stat().st_ino != kept
    assert (again.folder / "meta.json").read_bytes() == dump(CASES)["meta.json"]


def test_a_data_set_whose_stored_files_changed_is_not_trained_on(stack: Stack) -> None:
    pin = data_set(stack)
    changed = dump(CASES)["meta.json"].replace(b"CCO", b"CCN")
    stored = reading.result(stack.db, pin["id"])
    assert stored is not None
    stack.storage.put_artifact(pin["id"], stored.fence, "meta.json", changed)
    with pytest.raises(DatasetInvalid, match="damaged"):
        DataSets(stack.db, stack.storage, stack.folder / "sets").local(pin)
    stack.storage.delete_job(pin["id"])
    with pytest.raises(DatasetInvalid, match="deleted"):
        DataSets(stack.db, stack.storage, stack.folder / "sets").local(pin)


def test_a_rerun_knows_what_the_first_run_recorded(stack: Stack) -> None:
    """Given a training of 7 steps, when a rerun is given other parameters, then it follows the record of the first."""
    stack.worker("long")
    first = train(stack, steps=7)
    stack.wait([first])
    again = train(stack, steps=2, rerun_of=first)
    stack.wait([again])
    assert stack.result(again)["items"] == stack.result(first)["items"]


def test_no_metric_is_lost_of_a_runner_that_says_hundreds_a_second(stack: Stack) -> None:
    stack.worker("long")
    job_id = train(stack, steps=40, step_s=0.05, metrics=50, checkpoint_every=40)
    stack.wait([job_id])
    found = [event.data for event in everything(stack, job_id) if event.type == "metric"]
    assert len(found) == 40 * 50
    assert [data["step"] for data in found] == sorted(data["step"] for data in found)
    names = [data["name"] for data in found[:50]]
    assert names == ["loss", *(f"loss.{number}" for number in range(1, 50))]


def test_events_stay_in_order_over_a_crash_and_say_where_it_goes_on(stack: Stack) -> None:
    """Given a training that was killed, then its steps rise in each attempt, and a log tells where the second began."""
    stack.worker("long")
    stack.keeper()
    job_id = train(stack, steps=80, step_s=0.04, checkpoint_every=10)
    stack.until(lambda: stack.view(job_id).fraction > 0.3)
    (child,) = stack.children()
    child.kill()
    (job,) = stack.wait([job_id], 60)
    assert job.state == "succeeded"
    events = everything(stack, job_id)
    assert [event.id for event in events] == sorted(event.id for event in events)
    (resumed,) = (n for n, event in enumerate(events) if event.type == "log")
    step = int(events[resumed].data["message"].removeprefix("goes on from step "))
    before = [event.data["step"] for event in events[:resumed] if event.type == "metric"]
    after = [event.data["step"] for event in events[resumed:] if event.type == "metric"]
    assert before == list(range(len(before)))
    assert after == list(range(step, 80))
    assert 0 < step <= len(before) + 10


def test_a_cancelled_training_stops_soon_and_keeps_what_it_told(stack: Stack) -> None:
    stack.worker("long")
    job_id = train(stack, steps=5000, step_s=0.05, name="never")
    stack.until(lambda: len(metrics(stack, job_id)) > 20)
    begun = time.monotonic()
    jobs.request_cancel(stack.db, job_id, None)
    (job,) = stack.wait([job_id])
    assert time.monotonic() - begun < 10
    assert job.state == "cancelled"
    assert metrics(stack, job_id)[:20] == list(range(20))
    assert job.fraction > 0
    assert owner(stack.db, "never") is None


def test_a_training_waits_for_room_on_its_gpus_uncharged(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a driver that tells of two GPUs of which one is full, then the job waits; when there is room, it has both.

    (The driver is a script here; what runs on the worker touches no GPU.)
    """
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()

    def free(*mebibytes: int) -> None:
        lines = "".join(f"echo '{n}, GPU-{n}, {free}'\n" for n, free in enumerate(mebibytes))
        program.write_text(f"#!/bin/sh\n{lines}")
        program.chmod(0o755)

    free(100_000, 2047)
    stack.environment["PATH"] = f"{program.parent}:{stack.environment['PATH']}"
    stack.supervised("long", "0,1")
    stack.keeper()
    job_id = train(stack, steps=2)
    stack.until(lambda: stack.view(job_id).attempt == 1 and stack.view(job_id).state is State.QUEUED)
    job = stack.view(job_id)
    assert (job.failures, job.crashes) == (0, 0)
    assert job.run_at is not None
    (log,) = (event.data["message"] for event in everything(stack, job_id) if event.type == "log")
    assert "2047 MiB are free" in log
    free(100_000, 2048)
    stack.db.transact(lambda connection: connection.execute(text("UPDATE jobs SET run_at = NULL")))
    (job,) = stack.wait([job_id])
    assert stack.result(job_id)["items"][0]["devices"] == ["cuda:0", "cuda:1"]


def test_many_events_are_one_transaction_in_their_order_and_none_under_an_old_fence(database: Database) -> None:
    (claim,) = running(database)
    said: list[tuple[str, dict[str, Any]]] = [("metric", {"step": n}) for n in range(700)]
    assert jobs.append_events(database, claim.id, claim.fence, said, (1.5, "train", "m"))
    assert not jobs.append_events(database, claim.id, claim.fence - 1, said)
    found = reading.events(database, claim.id, limit=10_000)
    assert [e.data["step"] for e in found if e.type == "metric"] == list(range(700))
    assert found[-1].data == {"fraction": 1.0, "stage": "train", "message": "m"}
    view = reading.get(database, claim.id)
    assert view is not None
    assert (view.fraction, view.stage, view.message) == (1.0, "train", "m")
