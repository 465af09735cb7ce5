"""The registry as several API processes on one database see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from db import jobs, models, reading
from db.callers import create_token
from db.records import Completion
from jobs.states import State
from tests.services.api_server import ApiServer


@pytest.fixture
def admin(running: Any) -> str:
    """A token of an administrator."""
    return create_token(running.database, "root", ["admin"])


def test_given_a_start_then_the_shipped_models_are_there_and_a_second_start_adds_none(
    running: Any, tmp_path: Path
) -> None:
    def shown() -> list[tuple[str, int]]:
        listed = running.http.get("/v1/models").json()["models"]
        return [(one["name"], version["version"]) for one in listed for version in one["versions"]]

    first = shown()
    assert ("chest-pneumonia", 1) in first
    before = [version.content for version in models.versions(running.database)]
    other = ApiServer(tmp_path, redis_url="redis://127.0.0.1:1/0")
    other.stop()
    assert [version.content for version in models.versions(running.database)] == before
    assert shown() == first


def test_given_a_promotion_by_one_process_then_the_next_submission_to_another_has_the_new_version(
    running: Any, admin: str, tmp_path: Path
) -> None:
    name = "chest-pneumonia"
    shipped = models.get(running.database, name, 1)
    assert shipped is not None
    models.add(
        running.database, name=name, kind="diagnosis", caller_id=None, content="ab" * 32, manifest=shipped.manifest,
        files=models.files(running.database, name, 1),
    )  # fmt: skip
    file = running.http.post("/v1/files", content=b"any bytes").json()["id"]
    job = {"kind": "diagnosis", "inputs": [file]}
    other = ApiServer(tmp_path, redis_url="redis://127.0.0.1:1/0")
    try:
        with other.client(running.token) as elsewhere, running.server.client(admin) as root:
            for number in (2, 1):
                moved = root.put(f"/v1/models/{name}/aliases/production", json={"version": number})
                assert moved.status_code == 200, moved.text
                pinned = elsewhere.post("/v1/jobs", json=job).json()["model"]
                assert pinned == {"name": name, "version": number}
    finally:
        other.stop()


def test_given_a_data_set_that_was_read_when_a_training_names_it_then_its_parameters_are_checked_and_it_is_pinned(
    running: Any,
) -> None:
    files = [running.http.post("/v1/files", content=b"an npz").json()["id"]]
    bad = {"name": "scans", "format": "images", "files": files, "options": {"size": 29}}
    refused = running.http.post("/v1/datasets", json=bad).json()
    assert [error["pointer"] for error in refused["errors"]] == ["#/options/size"]
    made = running.http.post("/v1/datasets", json={"name": "scans", "format": "medmnist", "files": files})
    assert made.status_code == 202
    job = made.json()["job"]
    [claim] = jobs.claim(running.database, [job], "w1", 60, "inference")
    item = {"format": "medmnist", "fingerprint": "ab" * 32, "counts": {"train": 1, "validation": 1, "test": 1}}
    result = {"kind": "dataset", "model": None, "items": [item], "artifacts": [], "warnings": [], "provenance": {}}
    jobs.complete(running.database, [Completion(job, claim.fence, State.SUCCEEDED, result=result)])

    def train(**params: Any) -> httpx.Response:
        body = {"kind": "training", "params": {"kind": "diagnosis", "dataset": "scans", **params}}
        return running.http.post("/v1/jobs", json=body)

    wrong = {
        "#/params/kind": {"kind": "toy-mean"},
        "#/params/recipe": {"recipe": "alchemy"},
        "#/params/overrides": {"overrides": {"surprise": 1}},
        "#/params/minutes": {"minutes": 0},
        "#/params/parent": {"parent": "icu@9"},
        "#/params/name": {"name": "chest-pneumonia"},
    }
    for place, params in wrong.items():
        answer = train(**params)
        assert answer.status_code in (403, 422), answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == [place], answer.text
    accepted = train(parent="chest-pneumonia", name="mine")
    assert accepted.status_code == 202, accepted.text
    row = reading.get(running.database, accepted.json()["id"])
    assert row is not None
    assert row.pins == {
        "dataset": {"id": job, "name": "scans", "fingerprint": "ab" * 32},
        "parent": {"name": "chest-pneumonia", "version": 1},
    }
