"""Every route answers what is wrong with a request in one shape."""

from __future__ import annotations

import re
import uuid

import pytest

from api.problems import CODES
from tests.services.stage import Stage, problem

UNKNOWN = {
    "job_id": str(uuid.UUID(int=7)),
    "file_id": f"sha256:{'0' * 64}",
    "name": "no-such",
    "kind": "no-such",
    "version": "9",
    "file": "no-such",
    "alias": "no-such",
    "worker_id": "no-such",
}
OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}
QUERIES = {"/v1/models/<name>/compare": "?a=1&b=2"}
"""What a route needs before it looks for anything."""

ADMINS = {("POST", "/v1/models"), ("POST", "/v1/workers/<string:worker_id>:drain")}
"""What needs the scope admin."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes(stage: Stage) -> list[tuple[str, str, set[str]]]:
    """Each rule with a path that names nothing that exists."""
    found = []
    for rule in stage.app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: UNKNOWN[match.group(1)], rule.rule)
        path += QUERIES.get(rule.rule, "")
        found.append((rule.rule, path, set(rule.methods or ()) & set(METHODS)))
    return found


def test_given_no_token_when_any_v1_route_is_called_then_401_says_how_to_get_one(stage: Stage) -> None:
    closed = [(rule, path, method) for rule, path, methods in routes(stage) for method in methods if rule not in OPEN]
    assert len(closed) >= 19
    for _, path, method in closed:
        answer = stage.call(method, path, who=None)
        body = problem(answer, 401, "unauthenticated")
        assert "medjobs token create" in body["detail"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header", ["Bearer mj_wrong", "Bearer", "Basic Zm9vOmJhcg==", "mj_wrong", "Bearer a b", "Bearer " + "x" * 300]
)
def test_given_a_bad_token_when_any_v1_route_is_called_then_401(stage: Stage, header: str) -> None:
    for rule, path, methods in routes(stage):
        for method in methods - ({"GET"} if rule in OPEN else set()):
            answer = stage.call(method, path, who=None, headers={"Authorization": header})
            assert "invalid_token" in answer.headers["WWW-Authenticate"]
            problem(answer, 401, "unauthenticated")


def test_given_a_scope_too_few_when_any_v1_route_is_called_then_403_names_it(stage: Stage) -> None:
    for rule, path, methods in routes(stage):
        for method in methods - ({"GET"} if rule in OPEN else set()):
            who, scope = ("sender", "read") if method == "GET" else ("reader", "submit")
            if (method, rule) in ADMINS:
                who, scope = "lab", "admin"
            body = problem(stage.call(method, path, who=who), 403, "missing-scope")
            assert scope in body["detail"]


def test_given_a_method_that_a_route_lacks_then_405_with_allow(stage: Stage) -> None:
    allowed: dict[str, set[str]] = {}
    for _, path, methods in routes(stage):
        allowed.setdefault(path, set()).update(methods)
    for path, methods in allowed.items():
        for method in set(METHODS) - methods:
            answer = stage.call(method, path)
            problem(answer, 405, "method-not-allowed")
            assert methods <= set(re.split(r",\s*", answer.headers["Allow"]))


def test_given_an_id_that_is_nobodys_then_404(stage: Stage) -> None:
    for rule, path, methods in routes(stage):
        if any(value in path for value in UNKNOWN.values()):
            for method in methods:
                who = "admin" if (method, rule) in ADMINS else "lab"
                problem(stage.call(method, path, who=who), 404, "not-found")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/jobs/",
        "/v1/jobs/123",
        "/v1/jobs/x:cancel",
        "/v2/jobs",
        "/v1/dataset",
        "/v1/jobs/%00",
        "/v1/files/sha256:xyz",
        "/v1/files/..%2f..%2fetc%2fpasswd",
    ],
)
def test_given_a_path_that_does_not_exist_then_404(stage: Stage, path: str) -> None:
    problem(stage.get(path), 404, "not-found")


def test_given_a_defect_then_500_has_an_incident_number_and_not_the_message(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("DOE^JANE")

    monkeypatch.setattr("db.workers.live", broken)
    body = problem(stage.get("/v1/workers"), 500, "internal-error")
    assert "DOE" not in str(body)
    assert "DOE" not in caplog.text
    assert f"incident {body['incident']}: KeyError on /v1/workers at " in caplog.text


def test_given_a_database_that_is_away_then_503_with_retry_after(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.errors import DatabaseUnavailable

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr("db.reading.listing", away)
    answer = stage.get("/v1/jobs")
    body = problem(answer, 503, "dependency-unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert "database" in body["detail"]


def test_every_code_has_a_remedy_and_a_place_in_the_docs(stage: Stage) -> None:
    page = stage.get("/docs", who=None).text
    for code, sort in CODES.items():
        assert re.fullmatch(r"[a-z][a-z-]+", code)
        assert sort.remedy.endswith(".")
        assert f'<tr id="{code}">' in page


def test_every_answer_stays_out_of_caches_and_is_not_sniffed(stage: Stage) -> None:
    for path in ("/v1/jobs", "/nowhere", "/healthz", "/openapi.json"):
        headers = stage.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
