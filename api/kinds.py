"""GET /v1/kinds: what can be done, made from the registry."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify
from pydantic import TypeAdapter

from api import auth
from api.models import summary
from api.problems import Problem
from api.routing import Routes
from api.schemas import KindBody, KindList, KindPath
from jobs.kinds import Kind
from jobs.results import Result
from models.catalogue import catalogue
from models.registry import kinds

routes = Routes("kinds", __name__, url_prefix="/v1")


@routes.get("/kinds", responses={200: KindList})
@auth.needs("read")
def listing() -> Response:
    """Every kind."""
    return jsonify(kinds=[kind_json(kind) for kind in kinds().values()])


@routes.get("/kinds/<kind>", responses={200: KindBody})
@auth.needs("read")
def read(path: KindPath) -> Response:
    """A kind: JSON Schemas of its parameters, inline input and result, and the models that serve it."""
    kind = kinds().get(path.kind)
    if kind is None:
        raise Problem("not-found")
    return jsonify(kind_json(kind))


def kind_json(kind: Kind) -> dict[str, Any]:
    """A kind as the API answers it."""
    result: dict[str, Any] = TypeAdapter(Result).json_schema(mode="serialization")
    item = kind.item.model_json_schema(mode="serialization")
    definitions = {**result.pop("$defs", {}), **item.pop("$defs", {}), "Item": item}
    failed = {"type": "object", "required": ["error"], "properties": {"error": {"type": "object"}}}
    result["properties"]["items"]["items"] = {"anyOf": [{"$ref": "#/$defs/Item"}, failed]}
    return {
        "name": kind.name,
        "summary": kind.summary,
        "pool": kind.pool,
        "min_inputs": kind.min_inputs,
        "max_inputs": kind.max_inputs,
        "takes_files": kind.files,
        "default_model": kind.default_model,
        "timeout_s": kind.timeout_s,
        "params": kind.params.model_json_schema(),
        "input": None if kind.data is None else kind.data.model_json_schema(),
        "result": {**result, "$defs": definitions},
        "models": [summary(version) for version in catalogue().for_kind(kind)],
        "href": f"/v1/kinds/{kind.name}",
    }
