"""Data sets: one name for one job, and nothing that could disagree with it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from db import datasets, files, jobs, models, reading, retention
from db.engine import Database
from db.records import Completion, Inserted, NewVersionRow
from db.refusals import DataSetExists, DataSetInUse, DataSetsGone, UnknownFiles
from jobs.datasets import DataSetState
from jobs.errors import DatasetInvalid
from jobs.ids import new_id
from jobs.states import State
from tests.jobs_in_a_database import caller, new_job, queued, running


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def create(db: Database, name: str = "chests", content: bytes = b"one", owner: str = "imaging-lab") -> datasets.Created:
    mine, digest = caller(db, owner), digest_of(content)
    files.add(db, mine, digest, len(content), "application/octet-stream")
    job = new_job(mine, kind="dataset", inputs=[digest], digests=[digest], params={"format": "medmnist"})
    return datasets.create(db, job, name, digest.removeprefix("sha256:"), max_queued=100)


def end(db: Database, job_id: str, error: dict[str, Any] | None = None) -> None:
    [claim] = jobs.claim(db, [job_id], "w1", 30.0, "inference")
    result = {"items": [{"fingerprint": "f"}]} if error is None else None
    state = State.SUCCEEDED if error is None else State.FAILED
    assert jobs.complete(db, [Completion(claim.id, claim.fence, state, result, error=error)]) == {job_id}


def test_given_a_new_data_set_then_it_is_validating_until_its_job_has_ended(database: Database) -> None:
    made, new = create(database)
    assert new
    assert made.state is DataSetState.VALIDATING

    end(database, made.job_id)

    ready = datasets.get(database, caller(database), "chests")
    assert ready is not None
    assert (ready.state, ready.item, ready.fence) == (DataSetState.READY, {"fingerprint": "f"}, 1)
    assert [one.name for one in datasets.listing(database, caller(database))] == ["chests"]


def test_given_another_caller_then_it_has_names_of_its_own(database: Database) -> None:
    create(database)

    assert datasets.get(database, caller(database, "other"), "chests") is None
    assert create(database, content=b"two", owner="other").new


def test_given_the_same_content_again_then_it_is_the_same_and_other_content_is_refused(database: Database) -> None:
    first = create(database).data_set

    assert create(database) == datasets.Created(first, False)
    with pytest.raises(DataSetExists):
        create(database, content=b"two")


def test_given_a_data_set_that_was_refused_then_its_name_is_free_again(database: Database) -> None:
    first = create(database).data_set
    end(database, first.job_id, DatasetInvalid("row 7 has no label").as_dict())
    refused = datasets.get(database, caller(database), "chests")
    assert refused is not None
    assert refused.state is DataSetState.REJECTED
    assert refused.error is not None
    assert refused.error["code"] == "dataset-invalid"

    second = create(database, content=b"two")

    assert second.new
    assert second.data_set.job_id != first.job_id
    assert second.data_set.state is DataSetState.VALIDATING


def test_given_files_of_somebody_else_then_neither_name_nor_job_is_written(database: Database) -> None:
    digest = digest_of(b"theirs")
    files.add(database, caller(database, "other"), digest, 6, "application/octet-stream")
    job = new_job(caller(database), kind="dataset", inputs=[digest], digests=[digest])

    with pytest.raises(UnknownFiles):
        datasets.create(database, job, "chests", digest.removeprefix("sha256:"), max_queued=100)

    assert datasets.listing(database, caller(database)) == []


def test_given_a_job_that_waits_with_a_data_set_then_it_cannot_be_given_up(database: Database) -> None:
    made = create(database).data_set
    end(database, made.job_id)
    mine = caller(database)
    [waiting] = queued(database, kind="training", pins={"dataset": {"id": made.job_id, "name": "chests"}})

    with pytest.raises(DataSetInUse):
        datasets.forget(database, mine, "chests")
    jobs.request_cancel(database, waiting, mine)

    assert datasets.forget(database, mine, "chests")
    assert not datasets.forget(database, mine, "chests")


def test_given_a_data_set_when_all_is_due_then_its_job_and_files_stay_until_it_is_given_up(database: Database) -> None:
    made = create(database).data_set
    end(database, made.job_id)
    mine = caller(database)

    assert retention.forget_inputs(database, older_s=-1.0) == 0
    assert retention.purge_records(database, older_s=-1.0) == []
    assert retention.delete_job(database, made.job_id, mine).in_use

    datasets.forget(database, mine, "chests")
    assert retention.purge_records(database, older_s=-1.0) == [made.job_id]


def test_given_a_version_that_was_trained_on_it_when_a_data_set_is_given_up_then_its_job_and_files_stay(
    database: Database,
) -> None:
    kept, idle, mine = create(database, "chests").data_set, create(database, "knees", b"two").data_set, caller(database)
    for one in (kept, idle):
        end(database, one.job_id)
    pins = {"dataset": {"id": kept.job_id, "name": "chests", "fingerprint": "f"}}
    [claim] = running(database, kind="training", pins=pins)
    models.reserve(database, claim.id, claim.fence, name="lung", kind="diagnosis", content="c" * 64)
    version = NewVersionRow("lung", 1, "c" * 64, {}, [])
    jobs.complete(database, [Completion(claim.id, claim.fence, State.SUCCEEDED, {"items": [{}]}, version=version)])

    for name in ("chests", "knees"):
        assert datasets.forget(database, mine, name)

    # Then what no version stands on goes, and the version can still be made again
    assert retention.delete_job(database, kept.job_id, mine).in_use
    assert retention.forget_inputs(database, older_s=-1.0) == 1
    assert retention.purge_records(database, older_s=-1.0) == [idle.job_id]
    assert reading.result(database, kept.job_id) is not None
    again = new_job(mine, kind="training", pins=pins, rerun_of=claim.id)
    assert jobs.insert(database, [again], max_queued=9) == [Inserted(again.id, True)]
    # but nothing new is trained on a name that is gone
    with pytest.raises(DataSetsGone):
        jobs.insert(database, [new_job(mine, kind="training", pins=pins)], max_queued=9)


def test_given_a_job_that_is_run_again_then_what_it_will_read_stays_until_it_has_ended(database: Database) -> None:
    made, mine = create(database).data_set, caller(database)
    end(database, made.job_id)
    datasets.forget(database, mine, "chests")
    pins = {"dataset": {"id": made.job_id, "name": "chests", "fingerprint": "f"}}
    [again] = queued(database, kind="training", pins=pins, rerun_of=new_id())

    assert retention.delete_job(database, made.job_id, mine).in_use
    assert retention.purge_records(database, older_s=-1.0) == []
    jobs.request_cancel(database, again, mine)

    assert retention.delete_job(database, made.job_id, mine).deleted
    with pytest.raises(DataSetsGone):
        jobs.insert(database, [new_job(mine, kind="training", pins=pins, rerun_of=again)], max_queued=9)


def test_given_pins_then_the_claim_carries_them(database: Database) -> None:
    made = create(database).data_set
    pins = {"dataset": {"id": made.job_id, "name": "chests", "fingerprint": "f"}}
    [job_id] = queued(database, pins=pins)
    [claim] = jobs.claim(database, [job_id], "w1", 30.0, "inference")

    assert (claim.pins, claim.rerun_of) == (pins, None)
