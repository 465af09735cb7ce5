"""/openapi.json (OpenAPI 3.1) and /docs, a page drawn from it that fetches nothing."""

from __future__ import annotations

import inspect
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import dataset_schemas, documenting, model_schemas, requests, schemas, submission
from api.headers import DOCUMENTATION
from api.problems import CODES, MEDIA_TYPE
from jobs.results import DISCLAIMER, Result

pages = Blueprint("pages", __name__, template_folder="templates")

INFO = Info(
    title="medjobs",
    version="1",
    description=f"Jobs for medical AI: send images, get findings with evidence. {DISCLAIMER}",
)
BEARER = {"bearer": {"type": "http", "scheme": "bearer", "description": "`medjobs token create` makes a token."}}
ASKED, ANSWERED = (submission, requests), (schemas, dataset_schemas, model_schemas)
"""Modules with the bodies that are sent to us, and with those that we answer."""

OPEN = ("/healthz", "/readyz", "/metrics")
"""Paths that need no token."""


@pages.get("/openapi.json")
def document() -> Response:
    """The document."""
    return jsonify(_document())


@pages.get("/docs")
def page() -> Response:
    """The document for people."""
    spec = _document()
    answer = Response(render_template("docs.html", spec=spec, codes=CODES, resolve=_Resolver(spec)))
    answer.headers.update(DOCUMENTATION)
    return answer


def _document() -> dict[str, Any]:
    app = current_app
    assert isinstance(app, OpenAPI)
    found: dict[str, Any] | None = app.extensions.get("medjobs.openapi")
    if found is None:
        found = app.extensions["medjobs.openapi"] = describe(app)
    return found


def describe(app: OpenAPI) -> dict[str, Any]:
    """flask-openapi3's document with pydantic's own schemas, our problems and our authentication."""
    spec: dict[str, Any] = dict(app.api_doc)
    spec["components"] = {"schemas": _schemas(), "securitySchemes": BEARER}
    spec["security"] = [{"bearer": []}]
    for path, item in spec["paths"].items():
        for operation in item.values():
            _finish(path, operation)
    return spec


def _finish(path: str, operation: dict[str, Any]) -> None:
    """What every operation shares: problems for whatever goes wrong, and whether it needs a token."""
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "A problem; the codes are listed at /docs.",
        "content": {MEDIA_TYPE: {"schema": documenting.ref("ProblemBody")}},
    }
    if path in OPEN:
        operation["security"] = []
    for parameter in operation.get("parameters", []):
        if parameter["name"] == "labels" and parameter["in"] == "query":
            parameter["name"] = "label.NAME"
            parameter["schema"] = {"type": "string"}


def _schemas() -> dict[str, Any]:
    """Every model of a body or an answer, as pydantic gives it: flask-openapi3's copy drops keywords it has not."""
    asked = [(one, "validation") for module in ASKED for one in _models(module)]
    answered = [(one, "serialization") for one in (*(one for module in ANSWERED for one in _models(module)), Result)]
    _, found = models_json_schema([*asked, *answered], ref_template="#/components/schemas/{model}")  # type: ignore[list-item]
    definitions: dict[str, Any] = found["$defs"]
    for name in ("Submission", "BatchEntry", "Batch"):
        for member in definitions[name]["properties"].values():
            if "x-items" in member:  # entries that are checked one by one, and not by pydantic
                member["items"] = documenting.ref(member.pop("x-items"))
    definitions["ProblemBody"]["properties"]["code"]["enum"] = list(CODES)
    choices = [documenting.ref(name) for name in ("SeriesInput", "ArchiveInput", "DataInput")]
    file_id = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "description": "A file id."}
    return {**definitions, "Input": {"anyOf": [file_id, *choices]}}


def _models(module: Any) -> list[type[BaseModel]]:
    return [
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, BaseModel) and one.__module__ == module.__name__
    ]


class _Resolver:
    """Names of schemas for the page."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._schemas = spec["components"]["schemas"]

    def __call__(self, schema: dict[str, Any]) -> str:
        """A schema in a few words."""
        if "$ref" in schema:
            return str(schema["$ref"]).rpartition("/")[2]
        if "anyOf" in schema:
            return " | ".join(self(one) for one in schema["anyOf"])
        if "enum" in schema:
            return " | ".join(map(str, schema["enum"]))
        if schema.get("type") == "array":
            return f"array of {self(schema.get('items', {}))}"
        kind = str(schema.get("type", "any"))
        return f"{kind} ({schema['format']})" if "format" in schema else kind
