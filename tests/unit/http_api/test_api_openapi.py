"""The OpenAPI document says what http-api.md says, and the routes are what the document says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.problems import CODES
from tests.services.stage import Stage

PATHS: dict[str, set[str]] = {
    "/v1/files": {"post"},
    "/v1/files/{file_id}": {"get", "delete"},
    "/v1/jobs": {"get", "post"},
    "/v1/jobs:batch": {"post"},
    "/v1/jobs/{job_id}": {"get", "delete"},
    "/v1/jobs/{job_id}/result": {"get"},
    "/v1/jobs/{job_id}/artifacts/{name}": {"get"},
    "/v1/jobs/{job_id}/events": {"get"},
    "/v1/jobs/{job_id}:cancel": {"post"},
    "/v1/jobs/{job_id}:rerun": {"post"},
    "/v1/kinds": {"get"},
    "/v1/kinds/{kind}": {"get"},
    "/v1/datasets": {"get", "post"},
    "/v1/datasets/{name}": {"get", "delete"},
    "/v1/models": {"get", "post"},
    "/v1/models/{name}": {"get"},
    "/v1/models/{name}/versions/{version}": {"get"},
    "/v1/models/{name}/versions/{version}/files/{file}": {"get"},
    "/v1/models/{name}/aliases/{alias}": {"put"},
    "/v1/models/{name}/gate": {"put"},
    "/v1/models/{name}/compare": {"get"},
    "/v1/workers": {"get"},
    "/v1/workers/{worker_id}:drain": {"post"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}
"""The contract's table."""


@pytest.fixture
def spec(stage: Stage) -> dict[str, Any]:
    """The document."""
    return dict(stage.get("/openapi.json", who=None).json)  # type: ignore[arg-type]


def every(node: Any, key: str) -> list[Any]:
    """Each value of `key` at any depth."""
    found: list[Any] = []
    if isinstance(node, dict):
        found += [node[key]] if key in node else []
        for value in node.values():
            found += every(value, key)
    elif isinstance(node, list):
        for value in node:
            found += every(value, key)
    return found


def test_the_paths_are_those_of_the_contract(spec: dict[str, Any]) -> None:
    assert spec["openapi"].startswith("3.1.")
    assert {path: set(item) for path, item in spec["paths"].items()} == PATHS


def test_the_document_and_the_routes_are_the_same(stage: Stage, spec: dict[str, Any]) -> None:
    routes: dict[str, set[str]] = {}
    for rule in stage.app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        routes.setdefault(path, set()).update(
            method.lower() for method in rule.methods or () if method not in ("HEAD", "OPTIONS")
        )
    assert {path: methods for path, methods in routes.items() if path not in ("/docs", "/openapi.json")} == PATHS
    assert spec["paths"].keys() == PATHS.keys()


def test_every_reference_leads_somewhere_and_every_path_parameter_is_declared(spec: dict[str, Any]) -> None:
    references = set(every(spec, "$ref"))
    assert len(references) > 20
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in spec["components"]["schemas"]
    for path, item in spec["paths"].items():
        for operation in item.values():
            declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path)), path


def test_every_call_has_a_summary_an_id_and_problems(spec: dict[str, Any]) -> None:
    calls = [call for item in spec["paths"].values() for call in item.values()]
    assert len({call["operationId"] for call in calls}) == len(calls)
    for call in calls:
        assert call["summary"].endswith(".") or call["summary"].endswith("`.")
        assert "application/problem+json" in call["responses"]["default"]["content"]
        assert any(status.startswith("2") for status in call["responses"])


def test_the_codes_of_problems_are_a_closed_list(spec: dict[str, Any]) -> None:
    assert spec["components"]["schemas"]["ProblemBody"]["properties"]["code"]["enum"] == list(CODES)


def test_only_the_orchestrators_routes_are_open(spec: dict[str, Any]) -> None:
    assert spec["security"] == [{"bearer": []}]
    open_ = {path for path, item in spec["paths"].items() for call in item.values() if call.get("security") == []}
    assert open_ == {"/healthz", "/readyz", "/metrics"}


def test_the_submit_body_is_described_as_json_and_as_a_form(spec: dict[str, Any]) -> None:
    content = spec["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    schema = spec["components"]["schemas"]["Submission"]
    assert schema["required"] == ["kind"]
    assert schema["properties"]["inputs"]["items"] == {"$ref": "#/components/schemas/Input"}
    assert schema["properties"]["priority"]["maximum"] == 9
    assert schema["additionalProperties"] is False
    form = content["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {*schema["properties"], "file"}


def test_the_bodies_that_change_data_sets_and_models_are_described(spec: dict[str, Any]) -> None:
    def body(path: str, method: str) -> Any:
        return spec["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]

    schemas = spec["components"]["schemas"]
    assert body("/v1/datasets", "post") == {"$ref": "#/components/schemas/NewDataset"}
    assert body("/v1/models", "post") == {"$ref": "#/components/schemas/NewModel"}
    assert body("/v1/models/{name}/aliases/{alias}", "put") == {"$ref": "#/components/schemas/AliasMove"}
    assert body("/v1/models/{name}/gate", "put")["anyOf"][0] == {"$ref": "#/components/schemas/Gate"}
    assert schemas["NewDataset"]["required"] == ["name", "format", "files"]
    assert schemas["AliasMove"]["required"] == ["version"]
    assert schemas["KindBody"]["properties"]["recipes"]["additionalProperties"] == {
        "$ref": "#/components/schemas/RecipeBody"
    }
    assert set(schemas["RecipeBody"]["properties"]) == {"schema", "defaults"}


def test_the_page_shows_every_call_and_fetches_nothing(stage: Stage, spec: dict[str, Any]) -> None:
    answer = stage.get("/docs", who=None)
    assert answer.content_type.startswith("text/html")
    for path in spec["paths"]:
        assert f"<code>{path}</code>" in answer.text
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", answer.text)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
