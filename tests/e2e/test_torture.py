"""A seeded minute of the torture on each database, and the proof that the harness would notice."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import absent
from tests.services.postgres import NoPostgres
from tests.services.redis import NoRedis
from tests.torture.judge import Held, judge
from tests.torture.ledger import Ledger, Order
from tests.torture.mutations import GUARDS, SETTINGS, noticed
from tests.torture.phases import SLICE, for_zombies
from tests.torture.report import table
from tests.torture.runner import Torture

SEED = 20260101

ITEM = {"mean": 2.0, "size": 3}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_whatever_dies_nothing_is_lost_and_nothing_is_committed_twice(tmp_path: Path, dialect: str) -> None:
    try:
        torture = Torture(tmp_path, dialect, SEED, print)
    except (NoRedis, NoPostgres) as missing:
        absent(str(missing))
        raise
    with torture:
        verdicts = [torture.run(phase) for phase in SLICE]
    assert [violation for verdict in verdicts for violation in verdict.violations] == [], table(verdicts)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_frozen_worker_changes_nothing_and_without_the_fence_the_judge_would_see_it(tmp_path: Path) -> None:
    try:
        torture = Torture(tmp_path, "sqlite", SEED, print, **SETTINGS["fence"])
    except NoRedis as missing:
        absent(str(missing))
        raise
    phase = replace(GUARDS["fence"], orders=lambda orders: itertools.islice(for_zombies(orders), 48))
    with torture:
        sound = torture.run(replace(phase, name="with", settle_s=120))
        torture.system.switch("fence", off=True)
        broken = torture.run(replace(phase, name="without"))
    assert not sound.violations, table([sound])
    assert noticed("fence", broken), table([broken])


class Story:
    """One order of a made-up system, told to the judge."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.jsonl")
        order = Order("toy-mean", {"callback_url": "http://x"}, (ITEM,), {"mean-0.txt": b"2.0\n"})
        self.entry = self.ledger.intend("key", "story", order)
        self.ledger.accept(self.entry, "job")
        self.ledger.called("job", "msg_1", "succeeded")
        attempt = {"number": 1, "fence": 1, "worker_id": "w", "outcome": "succeeded"}
        result = {"items": [ITEM], "provenance": {"attempt": 1, "worker": "w"}}
        events = [(1, "state", {"state": "queued"}), (2, "state", {"state": "succeeded"})]
        self.job = Held(
            "succeeded", 1, None, "toy-mean", True, 0.0, [attempt], events, [(1, result)], {"mean-0.txt": 4}
        )
        self.path = folder / "files" / "jobs" / "job" / "1" / "mean-0.txt"
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(b"2.0\n")
        self.commits = folder / "commits"
        self.witness(1)

    def witness(self, *fences: int) -> None:
        self.commits.write_text("".join(json.dumps(["job", fence, 1]) + "\n" for fence in fences))

    def sorts(self) -> list[str]:
        found = judge(self.ledger, "story", {"job": self.job}, self.folder / "files", self.commits)
        return sorted({violation.sort for violation in found})


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    told = Story(tmp_path)
    yield told
    told.ledger.close()


def test_a_kept_promise_is_no_violation(story: Story) -> None:
    assert story.sorts() == []


def test_a_job_that_waits_for_ever_is_lost(story: Story) -> None:
    story.job.state = "queued"
    assert story.sorts() == ["lost"]


def test_a_job_without_a_row_is_lost(story: Story) -> None:
    assert [one.sort for one in judge(story.ledger, "story", {}, story.folder, story.commits)] == ["lost"]


def test_two_jobs_for_one_key_are_doubled(story: Story) -> None:
    story.ledger.accept(story.entry, "another")
    assert story.sorts() == ["doubled"]


def test_two_ends_in_the_events_are_doubled(story: Story) -> None:
    story.job.events.append((3, "state", {"state": "succeeded"}))
    assert story.sorts() == ["doubled"]


def test_two_processes_that_were_both_accepted_are_doubled(story: Story) -> None:
    story.witness(1, 2)
    assert story.sorts() == ["doubled"]


def test_a_result_of_an_attempt_that_had_lost_the_job_is_noticed(story: Story) -> None:
    story.job.results[0][1]["provenance"]["attempt"] = 2
    assert story.sorts() == ["fence"]


def test_an_event_after_the_end_is_noticed(story: Story) -> None:
    story.job.events.append((3, "progress", {"fraction": 0.5}))
    assert story.sorts() == ["fence"]


def test_another_output_than_the_ordered_one_is_wrong(story: Story) -> None:
    story.job.results[0][1]["items"] = [{"mean": 2.5, "size": 3}]
    assert story.sorts() == ["wrong"]


def test_a_row_without_its_file_and_a_file_without_its_row_are_noticed(story: Story) -> None:
    story.path.rename(story.path.with_name("other.txt"))
    assert story.sorts() == ["files"]


def test_torn_bytes_are_noticed(story: Story) -> None:
    story.path.write_bytes(b"2.")
    assert story.sorts() == ["files"]


def test_a_webhook_that_never_came_or_says_another_end_is_noticed(story: Story) -> None:
    story.ledger.called("job", "msg_1", "failed")
    assert story.sorts() == ["calls"]
    story.ledger.calls.clear()
    assert story.sorts() == ["calls"]
