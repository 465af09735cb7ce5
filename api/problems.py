"""Every error of the API as RFC 9457 problem+json, with a code from a closed list and a remedy.

No problem repeats what the caller sent: names of fields come from our own schemas, values never appear.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flask import Response


class Sort(NamedTuple):
    """What a code means: its HTTP status, its title, and the remedy that is its default detail."""

    status: int
    title: str
    remedy: str


CODES: dict[str, Sort] = {
    "bad-request": Sort(400, "Bad request", "The request is not HTTP that this server understands; look at the call."),
    "invalid-json": Sort(400, "Body is not JSON", "Send one JSON object in UTF-8, without NaN or Infinity."),
    "nesting-too-deep": Sort(400, "JSON nested too deeply", "Nest arrays and objects at most 32 levels deep."),
    "invalid-multipart": Sort(400, "Body is not multipart/form-data", "Let the HTTP library build the form."),
    "body-cut-short": Sort(400, "Body cut short", "The connection ended before the body did; send it again."),
    "unauthenticated": Sort(401, "No valid token", "Send `Authorization: Bearer`; `medjobs token create` makes one."),
    "missing-scope": Sort(403, "Scope missing", "Use a token with the scope that this call needs."),
    "not-owner": Sort(403, "Not the owner", "Only the model's owner or an admin may do this; register your own name."),
    "not-found": Sort(404, "Not found", "Nothing of that name is yours; check the path and the token."),
    "method-not-allowed": Sort(405, "Method not allowed", "Use one of the methods in the Allow header."),
    "job-not-finished": Sort(409, "Job not finished", "Ask again later, or GET the job with `?wait=30`."),
    "job-failed": Sort(409, "Job failed", "There is no result; the job's `error` says why."),
    "job-cancelled": Sort(409, "Job was cancelled", "There is no result; `:rerun` submits the same work again."),
    "job-deleted": Sort(409, "Job was deleted", "What this key stood for was deleted; use a new key."),
    "job-running": Sort(409, "Job has not ended", "Cancel it first, or wait until it has ended."),
    "job-ended": Sort(409, "Job has ended", "It ended before it could be cancelled; read its result or its error."),
    "job-in-use": Sort(409, "Job is in use", "A data set or a model version rests on it and keeps it."),
    "dataset-exists": Sort(409, "Data set exists", "Take another name, or delete the data set of that name first."),
    "dataset-not-ready": Sort(409, "Data set not ready", "Wait until its `state` is `ready`; see `GET /v1/datasets`."),
    "dataset-in-use": Sort(409, "Data set is in use", "A job that has not ended needs it; cancel it or wait."),
    "gate-not-passed": Sort(409, "Gate not passed", "The version does not pass the model's gate; see `reasons`."),
    "not-comparable": Sort(409, "Not comparable", "Name two versions that were tested on the same cases."),
    "body-too-large": Sort(413, "Body too large", "Send less in one request: the limit stands in the detail."),
    "range-not-satisfiable": Sort(416, "Range not satisfiable", "Ask for a range within the file's size."),
    "header-too-large": Sort(431, "Request header too large", "Send a shorter URL and shorter headers."),
    "invalid-request": Sort(422, "Invalid request", "Correct what stands under `errors`; see /docs."),
    "unknown-kind": Sort(422, "Unknown kind", "Use a kind that `GET /v1/kinds` lists."),
    "unknown-model": Sort(422, "Unknown model, version or alias", "Use one that `GET /v1/models` lists."),
    "model-of-other-kind": Sort(422, "Model of another kind", "Use a model that `GET /v1/kinds/{kind}` lists."),
    "unknown-dataset": Sort(422, "Unknown data set", "Use one that `GET /v1/datasets` lists."),
    "dataset-of-other-format": Sort(422, "Data set of another format", "Use one whose format the kind takes."),
    "invalid-inputs": Sort(422, "Invalid inputs", "Send what the kind takes; see `GET /v1/kinds/{kind}`."),
    "unknown-file": Sort(422, "Unknown file", "Upload the bytes with `POST /v1/files` first."),
    "digest-mismatch": Sort(422, "Digest differs", "The SHA-256 is not the announced one; send it again."),
    "invalid-cursor": Sort(422, "Invalid cursor", "Use `next` as the list gave it, with the same filters and token."),
    "idempotency-key-reused": Sort(422, "Idempotency-Key reused", "The key belongs to another request; use a new key."),
    "queue-full": Sort(429, "Queue full", "Too many jobs are waiting; send it again after Retry-After seconds."),
    "too-many-streams": Sort(503, "Too many event streams", "Use `?wait=`, or try again after Retry-After."),
    "dependency-unavailable": Sort(503, "A dependency is unavailable", "Try again; `GET /readyz` names what is down."),
    "internal-error": Sort(500, "Internal error", "This is a defect of the server; report the incident number."),
}
"""The closed list of problem codes; docs and OpenAPI are made from it."""

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 50
"""Bad fields listed in one problem; a batch of 1,000 bad jobs needs no more to be understood."""


class FieldError(NamedTuple):
    """One bad field: a JSON pointer as a URI fragment (RFC 6901 section 6), and what to do about it."""

    pointer: str
    detail: str


class Problem(Exception):
    """Raised anywhere in a request to answer it with a problem."""

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        """`detail` replaces the code's remedy; `facts` are further members, JSON-ready and free of callers' data."""
        self.code, self.sort = code, CODES[code]
        self.detail, self.errors, self.facts = detail or self.sort.remedy, list(errors), facts
        self.headers = dict(headers or {})
        super().__init__(code)

    def body(self) -> dict[str, Any]:
        """The problem object."""
        body: dict[str, Any] = {
            "type": f"/docs#{self.code}",
            "title": self.sort.title,
            "status": self.sort.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = [error._asdict() for error in self.errors[:MOST_ERRORS]]
        return body | self.facts

    def response(self) -> Response:
        """The HTTP answer."""
        response = Response(json.dumps(self.body()), self.sort.status, content_type=MEDIA_TYPE)
        response.headers.update(self.headers)
        return response


def at(pointer: str, detail: str, code: str = "invalid-request") -> Problem:
    """A problem about one field."""
    return Problem(code, errors=[FieldError(pointer, detail)])


def pointer(*parts: str | int) -> str:
    """A JSON pointer as a URI fragment; only names of our own schemas and positions may stand in it."""
    return "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)
