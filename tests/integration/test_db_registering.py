"""Data sets and model versions under rivals, and rows that no code of ours may write, on both databases."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from db import datasets, files, jobs, models, reading, retention, submitting
from db.datasets import Created
from db.engine import Database
from db.records import Claim, Completion, NewVersionRow, VersionFile
from db.refusals import DataSetExists, DataSetInUse, DataSetsGone, QueueFull, VersionExists
from jobs.states import State
from tests.jobs_in_a_database import caller, new_job, queued, running

T = TypeVar("T")

ZIP = "sha256:" + "a" * 64
CONTENT = "1" * 64


def at_once(acts: list[Callable[[], T]]) -> list[T | Exception]:
    """What each act gave or raised, all begun at the same moment in threads."""
    start, came = threading.Barrier(len(acts)), list[T | Exception]()

    def one(act: Callable[[], T]) -> None:
        start.wait()
        try:
            came.append(act())
        except Exception as error:
            came.append(error)

    threads = [threading.Thread(target=one, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came


def count(db: Database, table: str) -> int:
    with db.read() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def execute(db: Database, statement: str) -> None:
    with db.write() as connection:
        connection.execute(text(statement))


def file(body: bytes) -> VersionFile:
    return VersionFile("weights.safetensors", f"sha256:{hashlib.sha256(body).hexdigest()}", len(body))


def hexed(body: bytes) -> str:
    return hashlib.sha256(b"files of " + body).hexdigest()


def reserve(db: Database, claim: Claim, body: bytes) -> models.Reserved | None:
    return models.reserve(db, claim.id, claim.fence, name="lung", kind="diagnosis", content=hexed(body))


def trained(claim: Claim, number: int, body: bytes, manifest: dict[str, Any] | None = None) -> Completion:
    version = NewVersionRow("lung", number, hexed(body), manifest or {"seed": 0}, [file(body)])
    return Completion(claim.id, claim.fence, State.SUCCEEDED, {"items": [{}]}, version=version)


# -- rivals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False])
def test_given_eight_requests_at_once_for_one_name_then_one_data_set_and_one_job_are_made(
    database: Database, same: bool
) -> None:
    mine = caller(database)
    files.add(database, mine, ZIP, 10, "application/zip")
    contents = [CONTENT if same else f"{number:064d}" for number in range(8)]

    def ask(content: str) -> Callable[[], Created]:
        job = new_job(mine, kind="dataset", inputs=[ZIP], digests=[ZIP])
        return lambda: datasets.create(database, job, "chests", content, max_queued=100)

    came = at_once([ask(content) for content in contents])

    there = datasets.get(database, mine, "chests")
    assert there is not None
    made = [one for one in came if isinstance(one, Created)]
    assert sum(one.new for one in made) == 1
    assert {one.data_set.job_id for one in made} == {there.job_id}
    refused = [type(one) for one in came if not isinstance(one, Created)]
    assert refused == ([] if same else [DataSetExists] * 7)
    assert count(database, "jobs") == 1


def test_given_a_full_queue_then_no_data_set_is_named(database: Database) -> None:
    queued(database)
    with pytest.raises(QueueFull):
        datasets.create(database, new_job(caller(database)), "chests", CONTENT, max_queued=1)
    assert datasets.listing(database, caller(database)) == []


def test_given_trainings_of_one_name_that_end_at_once_then_each_is_a_version_and_the_history_has_no_gap(
    database: Database,
) -> None:
    claims = running(database, 6)
    bodies = [bytes([number]) * 9 for number in range(6)]

    def finish(claim: Claim, body: bytes) -> Callable[[], set[str]]:
        def act() -> set[str]:
            reserved = reserve(database, claim, body)
            assert reserved is not None
            return jobs.complete(database, [trained(claim, reserved.number, body)])

        return act

    came = at_once([finish(claim, body) for claim, body in zip(claims, bodies, strict=True)])

    assert sorted(next(iter(one)) for one in came if isinstance(one, set)) == sorted(claim.id for claim in claims)
    assert sorted(version.number for version in models.versions(database, name="lung")) == [1, 2, 3, 4, 5, 6]
    told = models.history(database, "lung", "candidate")[::-1]
    assert [move.before for move in told] == [None, *(move.after for move in told[:-1])]
    assert models.pin(database, "lung", "candidate") == models.Pin("lung", told[-1].after, "diagnosis")


def test_given_equal_trainings_that_end_at_once_then_one_is_a_version_and_the_others_are_told_which(
    database: Database,
) -> None:
    claims = running(database, 4)
    for number, claim in enumerate(claims, start=1):
        assert reserve(database, claim, b"same") == models.Reserved(number, False)

    def finish(claim: Claim, number: int) -> Callable[[], set[str]]:
        return lambda: jobs.complete(database, [trained(claim, number, b"same")])

    came = at_once([finish(claim, number) for number, claim in enumerate(claims, start=1)])

    [version] = models.versions(database, name="lung")
    assert [one for one in came if isinstance(one, set)] == [{version.job_id}]
    assert [one.number for one in came if isinstance(one, VersionExists)] == [version.number] * 3
    assert len(models.history(database, "lung")) == 1
    others = [claim for claim in claims if claim.id != version.job_id]
    assert {view.state for view in reading.get_many(database, [one.id for one in others])} == {State.RUNNING}
    assert {reserve(database, one, b"same") for one in others} == {models.Reserved(version.number, True)}


def test_given_two_people_who_promote_at_once_then_the_history_says_who_came_last(database: Database) -> None:
    for body in (b"one", b"two", b"three"):
        models.add(
            database,
            name="lung",
            kind="diagnosis",
            caller_id=None,
            content=hexed(body),
            manifest={},
            files=[file(body)],
        )
    who = caller(database)

    def promote(number: int) -> Callable[[], models.Moved | None]:
        return lambda: models.move_alias(database, "lung", "production", number, caller_id=who)

    at_once([promote(number) for number in (1, 2, 3, 1, 2, 3)])

    told = models.history(database, "lung", "production")[::-1]
    assert [move.before for move in told] == [None, *(move.after for move in told[:-1])]
    assert models.models(database, name="lung")[0].aliases["production"] == told[-1].after


def test_given_first_promotions_at_once_that_all_saw_nothing_in_production_then_one_is_made(database: Database) -> None:
    for body in (b"one", b"two", b"three", b"four"):
        models.add(
            database, name="lung", kind="diagnosis", caller_id=None, content=hexed(body), manifest={},
            files=[file(body)],
        )  # fmt: skip
    who = caller(database)

    def promote(number: int) -> Callable[[], models.Moved | None]:
        return lambda: models.move_alias(database, "lung", "production", number, caller_id=who, expected=None)

    came = at_once([promote(number) for number in (1, 2, 3, 4)])

    [moved] = [one for one in came if one is not None]
    [told] = models.history(database, "lung", "production")
    assert moved == models.Moved(None, told.after)
    assert models.models(database, name="lung")[0].aliases["production"] == told.after


def test_given_a_submission_that_is_not_committed_yet_when_its_data_set_is_given_up_then_that_waits_and_is_refused(
    database: Database,
) -> None:
    mine = caller(database)
    read = datasets.create(database, new_job(mine, kind="dataset"), "chests", CONTENT, max_queued=9).data_set
    job = new_job(mine, pins={"dataset": {"id": read.job_id, "name": "chests", "fingerprint": "f"}})
    came: list[object] = []

    def forget() -> None:
        try:
            came.append(datasets.forget(database, mine, "chests"))
        except DataSetInUse as refusal:
            came.append(refusal)

    rival = threading.Thread(target=forget)
    with database.write() as connection:
        submitting.add(connection, [job])
        rival.start()
        rival.join(timeout=0.5)
        assert rival.is_alive()
    rival.join()
    assert [type(one) for one in came] == [DataSetInUse]


def test_given_a_data_set_that_was_given_up_meanwhile_then_the_submission_is_refused_and_nothing_written(
    database: Database,
) -> None:
    mine = caller(database)
    read = datasets.create(database, new_job(mine, kind="dataset"), "chests", CONTENT, max_queued=9).data_set
    pins = {"dataset": {"id": read.job_id, "name": "chests", "fingerprint": "f"}}
    assert datasets.forget(database, mine, "chests")
    with pytest.raises(DataSetsGone) as refusal:
        jobs.insert(database, [new_job(mine), new_job(mine, pins=pins)], max_queued=9)
    assert refusal.value.ids == [read.job_id]
    assert count(database, "jobs") == 1


# -- completion ---------------------------------------------------------------------------------------------------


def test_given_a_manifest_that_json_cannot_carry_then_only_its_own_job_fails(database: Database) -> None:
    broken, good = running(database, 2)
    reserve(database, broken, b"broken")
    reserve(database, good, b"good")
    done = [trained(broken, 1, b"broken", {"metrics": {"auc": float("nan")}}), trained(good, 2, b"good")]

    assert jobs.complete(database, done) == {broken.id, good.id}

    states = {view.id: view.state for view in reading.get_many(database, [broken.id, good.id])}
    assert states == {broken.id: State.FAILED, good.id: State.SUCCEEDED}
    assert reading.result(database, broken.id) is None
    assert [version.number for version in models.versions(database)] == [2]


def test_given_a_job_that_fails_then_its_number_is_given_to_nobody_else(database: Database) -> None:
    first, second = running(database, 2)
    reserve(database, first, b"first")
    assert jobs.complete(database, [Completion(first.id, first.fence, State.FAILED)]) == {first.id}
    assert reserve(database, second, b"second") == models.Reserved(2, False)
    assert models.versions(database) == []
    assert retention.delete_job(database, first.id, None).deleted


def test_given_a_version_whose_number_was_never_reserved_then_its_job_is_not_completed(database: Database) -> None:
    [claim] = running(database)
    with pytest.raises(Exception, match="No row"):
        jobs.complete(database, [trained(claim, 1, b"one")])
    view = reading.get(database, claim.id)
    assert view is not None
    assert view.state is State.RUNNING


# -- what stays ---------------------------------------------------------------------------------------------------


def test_given_the_bytes_of_a_version_that_its_uploader_forgot_then_they_stay_beside_those_that_go(
    database: Database,
) -> None:
    mine, kept, idle = caller(database), file(b"kept"), file(b"idle")
    for one in (kept, idle):
        files.add(database, mine, one.digest, one.size, "application/octet-stream")
    models.add(
        database, name="lung", kind="diagnosis", caller_id=mine, content=hexed(b"kept"), manifest={}, files=[kept]
    )
    for one in (kept, idle):
        files.forget(database, mine, one.digest)
    # One at a time: what is kept for good must not stand in the way of what comes after it.
    assert retention.sweep_blobs(database, grace_s=-1, remove=lambda digest: True, limit=1) == [idle.digest]


# -- rows that cannot be --------------------------------------------------------------------------------------------

VERSION = (
    "INSERT INTO model_versions (name, number, state, job_id, content, manifest, created_at)"
    " VALUES ('lung', {number}, '{state}', {job}, '{content}', {manifest}, 1.0)"
)
READY: dict[str, Any] = {"number": 2, "state": "ready", "job": "NULL", "content": CONTENT, "manifest": "'{}'"}


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"number": 0}, "number_from_1"),
        ({"state": "half", "job": "'j'", "manifest": "NULL"}, "state_known"),
        ({"manifest": "NULL"}, "only_ready_has_manifest"),
        ({"state": "reserved", "job": "'j'"}, "only_ready_has_manifest"),
        ({"state": "reserved", "manifest": "NULL"}, "reserved_by_a_job"),
        ({"content": "short"}, "content_is_sha256"),
        ({"number": 1}, "pk_model_versions|UNIQUE.*number"),
    ],
)
def test_given_a_version_when_it_is_made_impossible_then_a_named_constraint_refuses(
    database: Database, change: dict[str, Any], constraint: str
) -> None:
    models.add(database, name="lung", kind="diagnosis", caller_id=None, content=CONTENT, manifest={}, files=[])
    with pytest.raises(IntegrityError, match=constraint):
        execute(database, VERSION.format(**{**READY, **change}))
    execute(database, VERSION.format(**READY))


def test_given_what_others_stand_on_when_it_is_deleted_behind_our_back_then_the_keys_refuse(
    database: Database,
) -> None:
    mine, one = caller(database), file(b"one")
    files.add(database, mine, ZIP, 10, "application/zip")
    job = new_job(mine, kind="dataset", inputs=[ZIP], digests=[ZIP])
    datasets.create(database, job, "chests", CONTENT, max_queued=9)
    models.add(database, name="lung", kind="diagnosis", caller_id=mine, content=hexed(b"one"), manifest={}, files=[one])
    for statement in (
        f"DELETE FROM jobs WHERE id = '{job.id}'",
        f"DELETE FROM blobs WHERE digest = '{one.digest}'",
        "DELETE FROM model_versions",
        "DELETE FROM models",
        "UPDATE aliases SET number = 9",
    ):
        with pytest.raises(IntegrityError):
            execute(database, statement)
