"""The API in this process, on a database of its own, with kinds and models made for the test of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from flask.testing import FlaskClient
from pydantic import BaseModel, Field
from werkzeug.test import TestResponse

from api import create_app
from api.services import EXTENSION, Services
from db import callers, jobs
from db.engine import Database
from db.records import Completion, StoredArtifact
from jobs.kinds import Kind, Params
from jobs.settings import Settings
from jobs.states import State

NO_REDIS = "redis://127.0.0.1:1/0"
"""Nothing listens there: what is tested here must do without."""


class Nested(BaseModel):
    """A parameter with members of its own."""

    ratio: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)


class PictureParams(Params):
    """Parameters of every sort."""

    explain: bool = True
    level: int = Field(default=1, ge=1, le=5)
    mode: Literal["fast", "exact"] = "fast"
    nested: Nested = Nested()


class PictureItem(BaseModel):
    """An entry of the result."""

    score: float


class Patient(BaseModel):
    """Inline data."""

    age: int = Field(alias="Age", ge=0)
    visits: list[Nested] = []


def kinds(shipped: Path) -> tuple[Kind, ...]:
    """One kind with models and both sorts of input, one of files alone, one without anything."""
    both = {"params": PictureParams, "item": PictureItem, "shipped": shipped, "default_model": "pictures"}
    return (
        Kind(name="picture", summary="Pictures.", data=Patient, max_inputs=5, timeout_s=77.0, **both),
        Kind(name="files-only", summary="Files.", params=Params, item=PictureItem),
        Kind(name="nothing", summary="No inputs.", params=Params, item=PictureItem, files=False, min_inputs=0,
             max_inputs=0, pool="long"),
    )  # fmt: skip


def ship_models(folder: Path) -> None:
    """`pictures` versions 1 and 2 of picture, `strangers` of another kind."""
    for name, version, kind in (("pictures", 1, "picture"), ("pictures", 2, "picture"), ("strangers", 1, "files-only")):
        place = folder / name / str(version)
        place.mkdir(parents=True)
        manifest = {"name": name, "version": version, "kind": kind, "summary": f"{name} {version}", "weights": None}
        (place / "manifest.json").write_text(json.dumps(manifest))
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

    def start(self, job_id: str) -> int:
        """Claim a job as a worker would; its fence."""
        [claim] = jobs.claim(self.here.database, [job_id], "w1", 60, "inference")
        return claim.fence

    def end(self, job_id: str, state: State = State.SUCCEEDED, files: Mapping[str, tuple[str, bytes]] = {}) -> None:
        """Run a job to its end; `files`: name -> (media type, content)."""
        fence = self.start(job_id)
        for name, (_, content) in files.items():
            self.here.storage.put_artifact(job_id, fence, name, content)
        stored = [StoredArtifact(name, media, len(content), 0) for name, (media, content) in files.items()]
        href = f"/v1/jobs/{job_id}/artifacts"
        named = [
            {"name": one.name, "media_type": one.media_type, "item": 0, "href": f"{href}/{one.name}"} for one in stored
        ]
        result = {
            "kind": "picture", "model": {"name": "pictures", "version": 1}, "items": [{"score": 0.25}],
            "artifacts": named, "warnings": [], "provenance": {"device": "cpu"}, "disclaimer": "Research use only.",
        }  # fmt: skip
        error = {"code": "timeout", "title": "Timed out", "detail": "Too slow.", "retryable": False, "item": None}
        done = Completion(
            job_id, fence, state,
            result=result if state is State.SUCCEEDED else None,
            artifacts=stored,
            error=error if state is State.FAILED else None,
        )  # fmt: skip
        assert jobs.complete(self.here.database, [done]) == {job_id}


def problem(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The problem that `answer` is; fails where its shape is not the one of http-api.md."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.text)
    assert {"type", "title", "status", "detail", "code"} <= set(body) <= {
        "type", "title", "status", "detail", "code", "errors", "error", "incident",
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
