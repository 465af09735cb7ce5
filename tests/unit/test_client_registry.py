"""The Python client's data sets and models against a server that answers as the test tells it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medjobs import client as module
from medjobs.client import Client, MedjobsError, WaitTimeout
from medjobs.datasets import DataSet, zipped
from tests.unit.scripted_server import Answer, Seen, json_answer, scripted

JOB = "01980000-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pause", lambda attempt, retry_after: 0.01)


def dataset(state: str) -> dict[str, object]:
    return {"name": "mine", "state": state, "job": JOB, "problems": []}


def test_a_data_set_is_waited_for_until_it_is_ready_or_rejected() -> None:
    states = ["validating", "rejected"]

    def answer(seen: Seen) -> Answer:
        if "/jobs/" in seen.path:
            return json_answer({"id": JOB, "kind": "dataset", "state": "failed"})
        return json_answer(dataset(states.pop(0)))

    with scripted(answer) as (url, _), Client(url, "t") as client:
        assert client.datasets.get("mine").wait(10).state == "rejected"


def test_waiting_for_a_data_set_ends_with_its_timeout() -> None:
    def answer(seen: Seen) -> Answer:
        return json_answer({"id": JOB, "kind": "dataset", "state": "running"})

    with scripted(answer) as (url, _), Client(url, "t") as client, pytest.raises(WaitTimeout, match="goes on"):
        DataSet(client, dataset("validating")).wait(0.3)


def test_a_file_that_was_uploaded_is_not_uploaded_again() -> None:
    with scripted(lambda _: json_answer(dataset("ready"))) as (url, seen), Client(url, "t") as client:
        client.datasets.add("mine", "medmnist", "sha256:aa", options={"positive": "ill"})
    assert [one.path for one in seen] == ["/v1/datasets"]
    body = {"name": "mine", "format": "medmnist", "files": ["sha256:aa"], "options": {"positive": "ill"}}
    assert json.loads(seen[0].body) == body


def test_an_empty_folder_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("x")
    with pytest.raises(MedjobsError, match="holds no files"):
        zipped(tmp_path, tmp_path / "out.zip")


def test_a_training_names_only_what_was_chosen() -> None:
    with scripted(lambda _: json_answer({"id": JOB, "kind": "training", "state": "queued"}, 202)) as (url, seen):
        Client(url, "t").train("diagnosis", "mine", minutes=8, recipe=None, seed=0)
    body = json.loads(seen[0].body)
    assert body["params"] == {"kind": "diagnosis", "dataset": "mine", "minutes": 8}
    assert body["seed"] == 0


def test_a_reference_means_a_number_an_alias_production_or_the_newest() -> None:
    answers = {
        "mine": {"aliases": {"production": 2, "candidate": 4}, "versions": [{"version": 4}, {"version": 2}]},
        "new": {"aliases": {"candidate": 1}, "versions": [{"version": 1}]},
    }
    with scripted(lambda seen: json_answer(answers[seen.path.rpartition("/")[2]])) as (url, _), Client(url, "t") as c:
        assert c.models.number("mine@3") == ("mine", 3)
        assert c.models.number("mine") == ("mine", 2)
        assert c.models.number("mine@candidate") == ("mine", 4)
        assert c.models.number("new") == ("new", 1)
        with pytest.raises(MedjobsError, match="It has: candidate, 1"):
            c.models.number("new@production")


def test_a_gate_is_taken_away_by_sending_null() -> None:
    with scripted(lambda _: json_answer({})) as (url, seen), Client(url, "t") as client:
        client.models.set_gate("mine", None)
    assert (seen[0].body, seen[0].headers["content-type"]) == (b"null", "application/json")


def test_what_meant_nothing_before_cannot_be_rolled_back() -> None:
    first = {"alias": "production", "before": None, "after": 1}
    with scripted(lambda _: json_answer({"history": [first]})) as (url, seen), Client(url, "t") as client:
        with pytest.raises(MedjobsError, match="meant nothing before"):
            client.models.rollback("mine")
        assert {one.method for one in seen} == {"GET"}


def moved(*ways: tuple[int | None, int]) -> list[dict[str, Any]]:
    """The history of `production` after these moves, newest first."""
    return [{"alias": "production", "before": before, "after": after} for before, after in ways][::-1]


@pytest.mark.parametrize(
    ("ways", "back_to"),
    [
        ([(None, 1), (1, 2), (2, 3)], 2),
        ([(None, 1), (1, 2), (2, 3), (3, 2)], 1),
        ([(None, 1), (1, 2), (2, 1), (1, 3)], 1),
        ([(None, 1), (1, 2), (2, 1), (1, 3), (3, 4)], 3),
    ],
)
def test_a_second_rollback_goes_further_back_and_never_to_what_was_rolled_back(
    ways: list[tuple[int | None, int]], back_to: int
) -> None:
    with scripted(lambda _: json_answer({"history": moved(*ways)})) as (url, seen), Client(url, "t") as client:
        client.models.rollback("mine")
    assert json.loads(seen[-1].body)["version"] == back_to


def test_after_the_last_rollback_there_is_nothing_to_go_back_to() -> None:
    answer = json_answer({"history": moved((None, 1), (1, 2), (2, 1))})
    with scripted(lambda _: answer) as (url, seen), Client(url, "t") as client:
        with pytest.raises(MedjobsError, match="meant nothing before"):
            client.models.rollback("mine")
        assert {one.method for one in seen} == {"GET"}


def test_data_sets_and_models_bring_httpx_and_nothing_else_of_ours() -> None:
    look = "import sys, medjobs.datasets, medjobs.versions; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "numpy", "pydantic", "api", "db", "jobs", "models"}.isdisjoint(loaded)
