"""What a job shows before its result: files under the fence, rows that name them, and neither without the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.dispatch import Dispatcher
from db import jobs, reading
from db.engine import Database
from db.records import Claim, Completion, Preview, Release, StoredResult
from jobs.errors import DatabaseUnavailable, StorageUnavailable
from jobs.kinds import Params
from jobs.states import Outcome, State
from tests.jobs_in_a_database import running
from tests.services.redis import RedisServer
from tests.services.workers import Stack
from workers.sweeps import Sweeps
from workers.work import Bound, LongWork


@pytest.fixture
def stack(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    # A child that is killed is seen by its parent; no lease is to run out on a busy machine.
    made = Stack(tmp_path / "stack", database_url, redis_server.url, lease_long_s=120, worker_dead_s=60)
    yield made
    made.stop()


def sweep(stack: Stack) -> None:
    """One turn of the keeper's sweep over the folders."""
    Sweeps(stack.db, stack.storage, Dispatcher(stack.settings), stack.settings).sweep_folders()


def told(name: str = "a.png", step: int = 1) -> tuple[str, dict[str, Any]]:
    """An event that shows a file."""
    return "artifact", {"name": name, "media_type": "image/png", "href": f"/v1/jobs/x/artifacts/{name}", "step": step}


def again(db: Database, claim: Claim) -> Claim:
    """The job, lost by its worker and claimed by another."""
    jobs.release(db, [Release(claim.id, claim.fence, Outcome.DRAINED, charge=False)])
    (taken,) = jobs.claim(db, [claim.id], "w2", 60, "inference")
    return taken


def test_a_preview_counts_under_the_current_fence_alone_and_a_later_attempt_takes_its_name_over(
    database: Database,
) -> None:
    (claim,) = running(database)
    assert jobs.append_events(database, claim.id, claim.fence, [told("a.png"), told("b.png", 2)])
    taken = again(database, claim)
    assert taken.fence > claim.fence
    assert not jobs.append_events(database, claim.id, claim.fence, [told("c.png")])
    assert jobs.append_events(database, claim.id, taken.fence, [told("b.png", 2)])
    shown = [Preview("a.png", claim.fence, "image/png"), Preview("b.png", taken.fence, "image/png")]
    assert reading.previews(database, [claim.id]) == {claim.id: shown}
    found = [event.data["name"] for event in reading.events(database, claim.id) if event.type == "artifact"]
    assert found == ["a.png", "b.png", "b.png"]
    jobs.complete(database, [Completion(claim.id, taken.fence, State.CANCELLED)])
    assert not jobs.append_events(database, claim.id, taken.fence, [told("d.png")])


def test_a_sweep_takes_from_dead_attempts_what_no_row_names_and_leaves_the_living_alone(stack: Stack) -> None:
    """Given files of a dead and of a running attempt, each with and without a row, then one file goes: the dead one's
    without a row. When the job has ended, all rows go and the files of the attempt that counted stay."""
    (dead,) = running(stack.db)
    put = stack.storage.put_artifact
    for name in ("named.png", "unnamed.png", "taken-over.png"):
        put(dead.id, dead.fence, name, b"1")
    stack.storage.checkpoints(dead.id, dead.fence).save({"state": b"s"}, {})
    jobs.append_events(stack.db, dead.id, dead.fence, [told("named.png"), told("taken-over.png")])
    live = again(stack.db, dead)
    for name in ("taken-over.png", "not-told-yet.png"):
        put(live.id, live.fence, name, b"2")
    jobs.append_events(stack.db, live.id, live.fence, [told("taken-over.png")])
    sweep(stack)
    assert stack.storage.artifacts(dead.id, dead.fence) == ["named.png"]
    assert stack.storage.artifacts(live.id, live.fence) == ["not-told-yet.png", "taken-over.png"]
    assert stack.storage.checkpoints(live.id, live.fence).newest() == ({"state": b"s"}, {})
    for one in reading.previews(stack.db, [live.id])[live.id]:
        assert stack.storage.read_artifact(live.id, one.fence, one.name) in (b"1", b"2")
    jobs.complete(stack.db, [Completion(live.id, live.fence, State.SUCCEEDED, {"items": []})])
    sweep(stack)
    assert reading.previews(stack.db, [live.id]) == {}
    assert stack.storage.fences(live.id) == [live.fence]


def test_a_zombie_shows_nothing_and_what_it_wrote_goes_with_the_next_sweep(stack: Stack) -> None:
    (claim,) = running(stack.db)
    work = LongWork(Bound(stack.db, stack.settings, claim, "w1"), Params(), ("cpu",), stack.folder, stack.storage)
    taken = again(stack.db, claim)
    work.show("late.png", "image/png", b"late", 7)
    work.tell()
    assert reading.previews(stack.db, [claim.id]) == {}
    assert stack.storage.artifacts(claim.id, claim.fence) == ["late.png"]
    sweep(stack)
    assert stack.storage.artifacts(claim.id, claim.fence) == []
    assert taken.fence not in stack.storage.fences(claim.id)


def test_a_storage_that_is_away_costs_the_preview_and_not_the_training(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claim,) = running(stack.db)
    work = LongWork(Bound(stack.db, stack.settings, claim, "w1"), Params(), ("cpu",), stack.folder, stack.storage)

    def away(*_: object) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(stack.storage, "put_artifact", away)
    work.show("a.png", "image/png", b"a", 1)
    work.tell()
    assert reading.previews(stack.db, [claim.id]) == {}
    (event,) = (one for one in reading.events(stack.db, claim.id) if one.type == "log")
    assert "a.png could not be stored (storage-unavailable)" in event.data["message"]


def test_what_was_said_before_a_checkpoint_is_written_before_it(stack: Stack) -> None:
    """Given a picture shown just before a checkpoint, then its row is there when the checkpoint is: an attempt that
    goes on from there does not draw it again."""
    (claim,) = running(stack.db)
    work = LongWork(Bound(stack.db, stack.settings, claim, "w1"), Params(), ("cpu",), stack.folder, stack.storage)
    work.show("a.png", "image/png", b"a", 1)
    assert reading.previews(stack.db, [claim.id]) == {}
    work.checkpoints.save({"state": b"s"}, {})
    assert reading.previews(stack.db, [claim.id]) == {claim.id: [Preview("a.png", claim.fence, "image/png")]}


def test_a_database_that_is_away_costs_no_checkpoint(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    (claim,) = running(stack.db)
    work = LongWork(Bound(stack.db, stack.settings, claim, "w1"), Params(), ("cpu",), stack.folder, stack.storage)
    work.show("a.png", "image/png", b"a", 1)

    def away(*_: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "append_events", away)
        with pytest.raises(DatabaseUnavailable):
            work.checkpoints.save({"state": b"s"}, {})
    assert stack.storage.checkpoints(claim.id, claim.fence).newest() == ({"state": b"s"}, {})
    work.tell()
    assert [one.name for one in reading.previews(stack.db, [claim.id])[claim.id]] == ["a.png"]


def test_given_a_job_killed_while_it_shows_then_its_files_outlive_it_and_its_end_is_as_if_it_never_died(
    stack: Stack,
) -> None:
    """Given a job that shows a file every 5 steps, makes a checkpoint every 20, and is killed twice.

    Then after each kill and a sweep every row has its file and every file of a dead attempt its row, and the artifacts
    are those of a job that was left alone.
    """
    params = {"steps": 120, "step_s": 0.05, "show_every": 5, "checkpoint_every": 20}
    whole, killed = (stack.new([], "toy-train", "long", params=params, seed=3) for _ in range(2))
    stack.worker("long")
    stack.keeper()
    stack.submit(killed)

    def rows() -> list[Preview]:
        return reading.previews(stack.db, [killed.id]).get(killed.id, [])

    for most in (5, 15):  # between two checkpoints: what was shown since the last is shown again
        stack.until(lambda most=most: len(rows()) > most, 60)  # type: ignore[misc]
        (child,) = stack.children()
        child.kill()
        dead = stack.view(killed.id).fence
        stack.until(lambda dead=dead: stack.view(killed.id).fence > dead, 60)  # type: ignore[misc]
        stack.storage.put_artifact(killed.id, dead, "not-told.txt", b"killed before its row")
        before = rows()
        sweep(stack)
        assert {one.name for one in before} <= {one.name for one in rows()}
        named = {(one.fence, one.name) for one in before}
        assert {(dead, name) for name in stack.storage.artifacts(killed.id, dead)} <= named
        for one in rows():
            assert stack.storage.read_artifact(killed.id, one.fence, one.name)

    (job,) = stack.wait([killed.id], 120)
    assert job.state == "succeeded", job.error
    assert len(job.attempts) == 3
    sweep(stack)
    assert rows() == []
    assert stack.storage.fences(killed.id) == [job.fence]
    stack.submit(whole)
    stack.wait([whole.id], 120)
    ends = [stored(stack, one.id) for one in (whole, killed)]
    names = [[file.name for file in end.artifacts] for end in ends]
    assert names[0] == names[1] == [f"sum-{step:03d}.txt" for step in range(5, 121, 5)]
    for name in names[0]:
        one, other = (
            stack.storage.read_artifact(new.id, end.fence, name) for new, end in zip((whole, killed), ends, strict=True)
        )
        assert one == other, name
    told = [event.data for event in reading.events(stack.db, killed.id, limit=100_000) if event.type == "artifact"]
    assert {data["name"] for data in told} == set(names[0])
    assert told[0] == {
        "name": "sum-005.txt", "media_type": "text/plain", "step": 5,
        "href": f"/v1/jobs/{killed.id}/artifacts/sum-005.txt",
    }  # fmt: skip


def stored(stack: Stack, job_id: str) -> StoredResult:
    found = reading.result(stack.db, job_id)
    assert found is not None
    return found
