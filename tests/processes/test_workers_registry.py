"""Versions: served as they are promoted, registered with the job that made them, never by one that lost its lease."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db import jobs, models, reading
from db.callers import create_token
from db.engine import Database
from db.records import Claim, Completion
from jobs.errors import NameTaken
from jobs.running import Stop
from jobs.states import State
from jobs.training import NewVersion
from registry.content import content_of, put
from registry.versions import Registry
from tests.jobs_in_a_database import caller
from tests.services.redis import RedisServer
from tests.services.workers import Stack
from workers.registering import register
from workers.work import Bound


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, sqlite_url, redis_server.url)
    yield made
    made.stop()


@pytest.fixture
def both(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    """On each database in turn."""
    made = Stack(tmp_path, database_url, redis_server.url)
    yield made
    made.stop()


def registry(stack: Stack) -> Registry:
    return Registry(stack.db, stack.storage, stack.folder / "looked-at")


def factor(seed: int, steps: int) -> float:
    """What toy-train makes."""
    return sum(random.Random(seed * 100_003 + step).random() for step in range(steps))


def train(stack: Stack, seed: int = 3, **params: Any) -> str:
    (job_id,) = stack.submit(stack.new([], "toy-train", "long", params={"name": "toy-scale", **params}, seed=seed))
    return job_id


def scale(stack: Stack, number: int, version: models.Pin) -> str:
    """Ask for a number, scaled by the version that the API would have pinned."""
    content = stack.put(b"%d" % number)
    new = stack.new([content], "toy-scale", model_name=version.name, model_version=version.number)
    return stack.submit(new)[0]


def rows(stack: Stack) -> list[tuple[Any, ...]]:
    """Every version of the table, reserved ones too."""
    statement = text("SELECT name, number, state FROM model_versions WHERE job_id IS NOT NULL ORDER BY number")
    return stack.db.query(lambda connection: [tuple(row) for row in connection.execute(statement)])


def test_a_promoted_version_is_served_without_restart_and_without_a_failed_job(stack: Stack) -> None:
    """Given jobs that flow, when a trained version becomes production, then each job has the version it was given."""
    stack.worker()
    stack.worker("long")
    stack.until(lambda: bool(models.pin(stack.db, "toy-scale", "production")))
    create_token(stack.db, "tester", ["admin"])  # whose name a shipped one is
    trained = train(stack, steps=5)
    asked: list[tuple[str, int, models.Pin]] = []
    while sum(version.number == 2 for _, _, version in asked) < 20:
        production = registry(stack).pin("toy-scale")
        asked.append((scale(stack, len(asked), production), len(asked), production))
        time.sleep(0.02)
        if production.number == 1 and stack.view(trained).state is State.SUCCEEDED:
            (item,) = stack.result(trained)["items"]
            assert item["version"] == {"name": "toy-scale", "version": 2}
            assert registry(stack).aliases("toy-scale") == {"production": 1, "candidate": 2}
            assert models.move_alias(stack.db, "toy-scale", "production", 2, caller_id=None) is not None
    assert {view.state for view in stack.wait([job_id for job_id, _, _ in asked])} == {"succeeded"}
    weights = {1: 2.0, 2: factor(3, 5)}
    for job_id, number, version in asked:
        (item,) = stack.result(job_id)["items"]
        assert item == {"scaled": number * weights[version.number], "version": version.number}
    assert {version.number for _, _, version in asked} == {1, 2}
    known = stack.result(asked[-1][0])["provenance"]
    assert known["model_content"] == registry(stack).get("toy-scale", 2).content


def test_a_new_production_version_is_loaded_before_a_job_asks_for_it(
    tmp_path: Path, sqlite_url: str, redis_server: RedisServer
) -> None:
    stack = Stack(tmp_path, sqlite_url, redis_server.url, warm_models="true")
    try:
        worker = stack.worker()
        stack.until(lambda: "loaded toy-scale toy-scale@1" in worker.text())
        files = put(stack.storage, {"factor.json": b'{"factor": 7}'})
        models.add(
            stack.db, name="toy-scale", kind="toy-scale", caller_id=None, content=content_of(files), manifest={},
            files=files,
        )  # fmt: skip
        assert "toy-scale@2" not in worker.text()
        models.move_alias(stack.db, "toy-scale", "production", 2, caller_id=None)
        stack.until(lambda: "loaded toy-scale toy-scale@2" in worker.text())
    finally:
        stack.stop()


def test_a_training_registers_its_version_with_its_files_as_candidate(stack: Stack) -> None:
    stack.worker("long")
    job_id = train(stack, name="fresh", steps=4)
    (job,) = stack.wait([job_id])
    assert job.state == "succeeded", job.error
    assert stack.result(job_id)["items"] == [
        {"factor": factor(3, 4), "steps": 4, "devices": ["cpu"], "version": {"name": "fresh", "version": 1}}
    ]
    found = registry(stack).resolve("fresh@candidate")
    assert (found.number, found.kind, found.job_id, found.aliases) == (1, "toy-scale", job_id, ("candidate",))
    version = registry(stack).local("fresh", 1)
    assert json.loads((version.folder / "factor.json").read_text()) == {"factor": factor(3, 4)}
    assert (version.folder / "card.md").read_text() == "# A toy\n"
    assert version.manifest["version"] == 1


def test_the_same_weights_again_are_the_version_that_is_there(stack: Stack) -> None:
    stack.worker("long")
    first, again, other = train(stack, name="a"), train(stack, name="a"), train(stack, name="a", seed=4)
    assert {job.state for job in stack.wait([first, again, other])} == {"succeeded"}
    items = [stack.result(job_id)["items"][0] for job_id in (first, again, other)]
    assert [item["version"]["version"] for item in items] == [1, 1, 2]
    assert [item.get("existing") for item in items] == [None, True, None]
    logs = [event.data["message"] for event in reading.events(stack.db, again) if event.type == "log"]
    assert [message for message in logs if message.startswith("equal to a@1")]
    assert rows(stack) == [("a", 1, "ready"), ("a", 2, "ready")]


def test_of_two_equal_trainings_side_by_side_one_makes_the_version_and_the_other_names_it(both: Stack) -> None:
    """Given two trainings that have both reserved a number, when both end, then one version is ready."""
    for _ in range(2):
        both.worker("long")
    twins = [train(both, name="twin", steps=3, store_s=3.0) for _ in range(2)]
    both.until(lambda: rows(both) == [("twin", 1, "reserved"), ("twin", 2, "reserved")])
    assert {job.state for job in both.wait(twins, 60)} == {"succeeded"}
    [version] = models.versions(both.db, name="twin")
    items = {job_id: both.result(job_id)["items"][0] for job_id in twins}
    assert {item["version"]["version"] for item in items.values()} == {version.number}
    assert {job_id: item.get("existing") for job_id, item in items.items()} == {
        job_id: None if job_id == version.job_id else True for job_id in twins
    }


def test_a_process_killed_between_reserving_and_completing_leaves_one_version(both: Stack) -> None:
    """Given a training whose number is reserved, when its process is killed and it resumes, then that number is it."""
    both.worker("long")
    both.keeper()
    job_id = train(both, name="once", steps=3, store_s=1.0)
    both.until(lambda: rows(both) == [("once", 1, "reserved")])
    (child,) = both.children()
    child.kill()
    (job,) = both.wait([job_id], 60)
    assert job.state == "succeeded", job.error
    assert len(job.attempts) == 2
    assert rows(both) == [("once", 1, "ready")]
    assert both.result(job_id)["items"][0]["version"] == {"name": "once", "version": 1}


def test_a_name_of_another_kind_is_an_error_that_says_so(stack: Stack) -> None:
    stack.worker("long")
    models.add(stack.db, name="taken", kind="toy-mean", caller_id=None, content="0" * 64, manifest={}, files=[])
    (job,) = stack.wait([train(stack, name="taken")])
    assert job.error is not None
    assert (job.error["code"], "belongs to a model of another kind" in job.error["detail"]) == ("name-taken", True)


def test_a_name_that_somebody_else_took_meanwhile_is_an_error_that_says_so(stack: Stack) -> None:
    """Given a training that was accepted for a free name, when another caller is the first there, then it is theirs."""
    claim = claimed(stack.db, train(stack, name="wanted"), "w1")
    models.add(
        stack.db, name="wanted", kind="toy-scale", caller_id=caller(stack.db, "rival"), content="0" * 64, manifest={},
        files=[],
    )  # fmt: skip
    made = NewVersion("wanted", "toy-scale", {}, {"factor.json": b"{}"})
    with pytest.raises(NameTaken, match="taken by somebody else"):
        register(Bound(stack.db, stack.settings, claim, "w1"), stack.storage, made)


def test_a_job_whose_lease_was_lost_registers_nothing(stack: Stack) -> None:
    """Given an attempt that slept through its lease, when it wakes, then its version is refused at every step."""
    job_id = train(stack, name="late")
    old = claimed(stack.db, job_id, "asleep")
    jobs.abandon_worker(stack.db, "asleep", charge=False)
    new = claimed(stack.db, job_id, "awake")
    made = NewVersion("late", "toy-scale", {}, {"factor.json": b"{}"})
    with pytest.raises(Stop):
        register(Bound(stack.db, stack.settings, old, "asleep"), stack.storage, made)
    assert rows(stack) == []
    registered = register(Bound(stack.db, stack.settings, new, "awake"), stack.storage, made)
    done = Completion(job_id, old.fence, State.SUCCEEDED, {"items": []}, version=registered.row)
    assert jobs.complete(stack.db, [done]) == set()
    assert rows(stack) == [("late", 1, "reserved")]
    assert jobs.complete(stack.db, [done._replace(fence=new.fence)]) == {job_id}
    assert rows(stack) == [("late", 1, "ready")]


def claimed(db: Database, job_id: str, worker: str) -> Claim:
    (claim,) = jobs.claim(db, [job_id], worker, 60, "long")
    return claim
