"""The API in this process, on a database of its own, with kinds and models made for the test of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api import create_app
from api.services import EXTENSION, Services
from db import callers, jobs, models
from db.engine import Database
from db.records import Completion, NewVersionRow, StoredArtifact
from jobs.settings import Settings
from jobs.states import State
from registry.content import content_of, described, put

NO_REDIS = "redis://127.0.0.1:1/0"
"""Nothing listens there: what is tested here must do without."""

SCORE = {"score": 0.25}
TOO_SLOW = {"code": "timeout", "title": "Timed out", "detail": "Too slow.", "retryable": False, "item": None}


def ship_models(folder: Path) -> None:
    """`pictures` versions 1 and 2 of picture, `strangers` of another kind."""
    for name, version, kind in (("pictures", 1, "picture"), ("pictures", 2, "picture"), ("strangers", 1, "files-only")):
        place = folder / name / str(version)
        place.mkdir(parents=True)
        manifest = {"name": name, "version": version, "kind": kind, "summary": f"{name} {version}", "weights": None}
        (place / "manifest.json").write_text(json.dumps(manifest))
        (place / "card.md").write_text(f"# {name} {version}")
    (folder / "pictures" / "aliases.json").write_text('{"production": 1, "candidate": 2}')
    (folder / "strangers" / "aliases.json").write_text('{"production": 1}')


def make_tokens(database: Database) -> dict[str, str]:
    """Tokens of three callers, by the name that a test calls them."""
    return {
        name: callers.create_token(database, caller, scopes)
        for name, caller, scopes in (
            ("lab", "imaging-lab", ["read", "submit"]),
            ("rival", "another-lab", ["read", "submit"]),
            ("reader", "imaging-lab", ["read"]),
            ("sender", "imaging-lab", ["submit"]),
            ("admin", "root", ["admin"]),
        )
    }


class Stage:
    """An application with two callers, and a hand to play the worker."""

    def __init__(self, settings: Settings, tokens: Mapping[str, str]) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self.here: Services = self.app.extensions[EXTENSION]
        self.tokens = tokens
        self.client: FlaskClient = self.app.test_client()
        self.shipped = self.stored()

    def stored(self) -> set[Path]:
        """The files in the storage; `shipped` are those that were there before the test."""
        return {path for path in (self.settings.home / "files").rglob("*") if path.is_file()}

    def call(self, method: str, path: str, *, who: str | None = "lab", **rest: Any) -> TestResponse:
        """A request with the token of `who`."""
        headers = dict(rest.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        return self.client.open(path, method=method, headers=headers, **{"buffered": True, **rest})

    def get(self, path: str, **rest: Any) -> TestResponse:
        """GET."""
        return self.call("GET", path, **rest)

    def post(self, path: str, **rest: Any) -> TestResponse:
        """POST."""
        return self.call("POST", path, **rest)

    def put(self, path: str, **rest: Any) -> TestResponse:
        """PUT."""
        return self.call("PUT", path, **rest)

    def upload(self, content: bytes = b"bytes", **rest: Any) -> str:
        """The id of an uploaded file."""
        answer = self.post("/v1/files", data=content, **rest)
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])  # type: ignore[index]

    def submit(self, *, who: str = "lab", headers: Mapping[str, str] | None = None, **fields: Any) -> dict[str, Any]:
        """A job that was accepted."""
        body = {"kind": "picture", "inputs": [{"data": {"Age": 3}}], **fields}
        answer = self.post("/v1/jobs", json=body, who=who, headers=headers or {})
        assert answer.status_code == 202, answer.text
        return dict(answer.json)  # type: ignore[arg-type]

    def dataset(
        self, name: str = "scans", *, who: str = "lab", content: bytes = b"npz", **fields: Any
    ) -> dict[str, Any]:
        """A data set that was accepted."""
        body = {"name": name, "format": "pixels", "files": [self.upload(content, who=who)], **fields}
        answer = self.post("/v1/datasets", json=body, who=who)
        assert answer.status_code == 202, answer.text
        return dict(answer.json)  # type: ignore[arg-type]

    def start(self, job_id: str, pool: str = "inference") -> int:
        """Claim a job as a worker would; its fence."""
        [claim] = jobs.claim(self.here.database, [job_id], "w1", 60, pool)
        return claim.fence

    def train(self, job_id: str, name: str, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> int:
        """End a long job with a new version of the model `name`; its number."""
        fence, database = self.start(job_id, "long"), self.here.database
        content = content_of(described(files))
        reserved = models.reserve(database, job_id, fence, name=name, kind="picture", content=content)
        assert reserved is not None
        stored = put(self.here.storage, files)
        version = NewVersionRow(name, reserved.number, content, dict(manifest), stored)
        result = {
            "kind": "teaching",
            "model": None,
            "items": [SCORE],
            "artifacts": [],
            "warnings": [],
            "provenance": {},
        }
        done = Completion(job_id, fence, State.SUCCEEDED, result=result, version=version)
        assert jobs.complete(database, [done]) == {job_id}
        return reserved.number

    def end(
        self,
        job_id: str,
        state: State = State.SUCCEEDED,
        files: Mapping[str, tuple[str, bytes]] = {},
        item: Mapping[str, Any] = SCORE,
        error: Mapping[str, Any] = TOO_SLOW,
    ) -> None:
        """Run a job to its end; `files`: name -> (media type, content); `item`, `error`: what comes of it."""
        fence = self.start(job_id)
        for name, (_, content) in files.items():
            self.here.storage.put_artifact(job_id, fence, name, content)
        stored = [StoredArtifact(name, media, len(content), 0) for name, (media, content) in files.items()]
        href = f"/v1/jobs/{job_id}/artifacts"
        named = [
            {"name": one.name, "media_type": one.media_type, "item": 0, "href": f"{href}/{one.name}"} for one in stored
        ]
        result = {
            "kind": "picture", "model": {"name": "pictures", "version": 1}, "items": [dict(item)],
            "artifacts": named, "warnings": [], "provenance": {"device": "cpu"}, "disclaimer": "Research use only.",
        }  # fmt: skip
        done = Completion(
            job_id, fence, state,
            result=result if state is State.SUCCEEDED else None,
            artifacts=stored,
            error=dict(error) if state is State.FAILED else None,
        )  # fmt: skip
        assert jobs.complete(self.here.database, [done]) == {job_id}


def problem(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The problem that `answer` is; fails where its shape is not the one of http-api.md."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.text)
    assert {"type", "title", "status", "detail", "code"} <= set(body) <= {
        "type", "title", "status", "detail", "code", "errors", "error", "incident", "figures", "reasons",
    }  # fmt: skip
    assert (body["code"], body["status"], body["type"]) == (code, status, f"/docs#{code}")
    assert len(body["detail"]) > 10
    for error in body.get("errors", []):
        assert set(error) == {"pointer", "detail"}
        assert error["pointer"].startswith("#")
        assert len(error["detail"]) > 5
    return body


def pointers(body: Mapping[str, Any]) -> list[str]:
    """Where a problem says that something is wrong."""
    return [error["pointer"] for error in body["errors"]]
