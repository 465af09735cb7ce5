"""The inference worker as a process: what becomes of jobs, items and batches."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import jobs, reading
from jobs.results import Result
from tests.services.redis import RedisServer
from tests.services.workers import Stack


@pytest.fixture
def stack(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path, database_url, redis_server.url)
    yield made
    made.stop()


@pytest.fixture
def light(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    """On SQLite alone, for what does not depend on the database."""
    made = Stack(tmp_path, sqlite_url, redis_server.url)
    yield made
    made.stop()


def test_a_file_becomes_a_result_with_its_provenance(stack: Stack) -> None:
    stack.worker()
    (job,) = stack.wait(stack.files([b"\x01\x03"], params={"artifact": True}, seed=7))
    assert job.state == "succeeded"
    result = Result.model_validate(stack.result(job.id))
    assert result.items == [{"mean": 2.0, "size": 2}]
    assert [(a.name, a.media_type, a.item) for a in result.artifacts] == [
        ("mean-0.txt", "text/plain", 0),
        ("report.html", "text/html", None),
    ]
    assert result.artifacts[0].href == f"/v1/jobs/{job.id}/artifacts/mean-0.txt"
    assert stack.storage.read_artifact(job.id, job.fence, "mean-0.txt") == b"2.0\n"
    known = result.provenance
    assert known["inputs"] == job.inputs
    assert (known["seed"], known["attempt"], known["device"], known["precision"]) == (7, 1, "cpu", "float64")
    assert {"python", "numpy", "medjobs"} <= set(known["libraries"])
    assert (known["threads"], known["pins"]) == (1, {})
    assert known["device_name"]
    assert set(known["timings"]) == {"decode_s", "predict_s", "encode_s", "total_s"}


def test_bad_items_fail_alone_and_in_their_places(light: Stack) -> None:
    """Given a job of 20 files with 3 broken ones, then 17 results and 3 named errors stand in order."""
    contents = [b"BAD%d" % i if i in (2, 3, 17) else bytes([i]) * 3 for i in range(20)]
    light.worker()
    (job_id,) = light.submit(light.new([light.put(content) for content in contents]))
    (job,) = light.wait([job_id])
    assert job.state == "succeeded"
    result = light.result(job_id)
    for position, item in enumerate(result["items"]):
        if position in (2, 3, 17):
            assert item["error"]["code"] == "bad-attribute"
            assert item["error"]["item"] == position
        else:
            assert item == {"mean": float(position), "size": 3}
    assert [warning.split(":")[0] for warning in result["warnings"]] == ["item 2", "item 3", "item 17"]


def test_a_job_whose_items_all_fail_is_failed(light: Stack) -> None:
    light.worker()
    (job_id,) = light.submit(light.new([light.put(b"BAD"), light.put(b"")]))
    (job,) = light.wait([job_id])
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "all-items-failed"
    assert [item["code"] for item in job.error["item_errors"]] == ["bad-attribute", "empty-input"]


def test_an_item_that_breaks_the_batch_fails_alone(light: Stack) -> None:
    """Given 40 jobs of which one raises for its whole batch, then 39 succeed."""
    contents = [b"BREAKER" if i == 11 else bytes([i]) for i in range(40)]
    light.worker()
    views = light.wait(light.files(contents))
    assert [view.state for view in views if view.error is None] == ["succeeded"] * 39
    (failed,) = [view for view in views if view.error is not None]
    assert failed.inputs == views[11].inputs
    assert failed.error is not None
    assert failed.error["item_errors"][0]["code"] == "internal-error"


def test_a_batch_too_large_for_the_device_is_cut(light: Stack) -> None:
    light.worker()
    views = light.wait(light.files([b"GREEDY%d" % i for i in range(9)]))
    assert {view.state for view in views} == {"succeeded"}


def test_inline_data_and_archives_become_items(light: Stack) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", b"\x02")
        archive.writestr("b", b"BAD")
        archive.writestr("c", b"\x04")
    light.worker()
    inputs = [{"data": {"values": [1, 2]}}, {"archive": light.put(packed.getvalue())}, light.put(b"\x06")]
    (job_id,) = light.submit(light.new(inputs))
    light.wait([job_id])
    items = light.result(job_id)["items"]
    assert [item.get("mean") for item in items] == [1.5, 2.0, None, 4.0, 6.0]
    light.until(lambda: _empty(light.settings.home / "scratch"))


def test_the_lines_of_files_become_items_in_order(light: Stack) -> None:
    """Given a kind that splits files, then each line is an item, and a file that has none is one error."""
    light.worker()
    inputs = [light.put(content) for content in (b"1\n2\nx\n", b"no\0lines", b"4")]
    (job_id,) = light.submit(light.new(inputs, "toy-scale", model_name="toy-scale", model_version=1))
    (job,) = light.wait([job_id])
    assert job.state == "succeeded", job.error
    items = light.result(job_id)["items"]
    assert [item.get("scaled", item.get("error", {}).get("code")) for item in items] == [
        2.0, 4.0, "bad-attribute", "bad-input", 8.0,
    ]  # fmt: skip
    assert [item["error"]["item"] for item in items if "error" in item] == [2, 3]


def _empty(folder: Path) -> bool:
    # os.walk passes over a folder that is deleted meanwhile; Path.rglob raises.
    return not any(files for _, _, files in os.walk(folder))


def test_deleted_bytes_are_an_item_error(light: Stack) -> None:
    gone = light.put(b"soon gone")
    light.storage.delete(gone)
    light.worker()
    (job,) = light.wait(light.submit(light.new([gone])))
    assert job.error is not None
    assert job.error["item_errors"][0]["code"] == "file-gone"


def test_temporary_errors_are_tried_again_and_not_for_ever(light: Stack) -> None:
    light.worker()
    light.keeper()
    (job,) = light.wait(light.files([b"FLAKY"]), 60)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "attempts-exhausted"
    assert [attempt.outcome for attempt in job.attempts] == ["retried"] * 4 + ["failed"]


def test_cancel_while_running_and_while_queued(stack: Stack) -> None:
    (running,) = stack.files([b"slow"], params={"sleep_s": 20})
    stack.worker()
    stack.wait_running([running])
    later = stack.submit(stack.new([{"data": {"values": [1]}}], run_at=time.time() + 3600), send=False)
    for job_id in (running, *later):
        answer = jobs.request_cancel(stack.db, job_id, stack.caller_id)
        assert answer is not None
        assert answer.accepted
    assert [view.state for view in stack.wait([running, *later], 10)] == ["cancelled", "cancelled"]


def test_a_job_over_its_time_is_failed_and_its_neighbours_are_not_charged(light: Stack) -> None:
    """Given a decode that never returns, when the grace is over, then the process goes and a new one does the rest."""
    light.supervised()
    (stuck,) = light.files([b"FOREVER"], timeout_s=1.0)
    light.wait_running([stuck])
    beside = light.files([b"a", b"b", b"c"], params={"sleep_s": 3.0})
    light.keeper()
    (job, *others) = light.wait([stuck, *beside], 60)
    assert job.error is not None
    assert job.error["code"] == "timeout"
    assert [view.state for view in others] == ["succeeded"] * 3
    assert [view.crashes for view in others] == [0, 0, 0]


def test_drain_finishes_what_is_held_and_takes_no_more(light: Stack) -> None:
    worker = light.worker()
    held = light.files([b"x%d" % i for i in range(6)], params={"sleep_s": 0.5})
    light.until(lambda: all(view.state == "running" for view in reading.get_many(light.db, held)))
    assert worker.terminate() == 0
    after = light.files([b"later"])
    views = reading.get_many(light.db, held)
    assert {view.state for view in views} == {"succeeded"}
    assert light.view(after[0]).state == "queued"
    assert all(view.failures == view.crashes == 0 for view in views)


def test_drain_hands_back_what_takes_too_long(light: Stack) -> None:
    worker = light.worker()
    (long_one,) = light.files([b"long"], params={"sleep_s": 60})
    light.wait_running([long_one])
    assert worker.terminate() == 0
    job = light.view(long_one)
    assert job.state == "queued"
    assert job.attempts[0].outcome == "drained"


def test_a_job_of_many_items_reports_its_progress(light: Stack) -> None:
    light.worker()
    (job_id,) = light.submit(light.new([light.put(b"%d" % i) for i in range(30)], params={"sleep_s": 0.2}))
    light.until(lambda: 0 < light.view(job_id).fraction < 1)
    light.wait([job_id])
    told = [event.data["message"] for event in reading.events(light.db, job_id) if event.type == "progress"]
    assert told
    assert told[0].endswith("of 30 items")


def test_priority_goes_first_and_age_within_it(light: Stack) -> None:
    """Given jobs of three priorities, when a worker that holds one at a time comes, then they run in order."""
    order = [1, 9, 5, 9, 1]
    ids = [light.files([b"%d" % i], priority=priority)[0] for i, priority in enumerate(order)]
    light.environment["MEDJOBS_INFERENCE_THREADS"] = "1"
    light.worker()
    views = light.wait(ids)
    ran = sorted(range(5), key=lambda i: views[i].attempts[0].started_at)
    assert [order[i] for i in ran] == [9, 9, 5, 1, 1]
    assert ran == [1, 3, 2, 0, 4]
