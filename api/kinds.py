"""GET /v1/kinds: what can be done, made from the registry."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify
from pydantic import TypeAdapter

from api import auth
from api.model_presenting import summaries
from api.model_schemas import KindBody, KindList, KindPath
from api.problems import Problem
from api.routing import Routes
from api.services import services
from jobs.kinds import Kind, Recipe
from jobs.results import Result
from models.registry import kinds

routes = Routes("kinds", __name__, url_prefix="/v1")


@routes.get("/kinds", responses={200: KindList})
@auth.needs("read")
def listing() -> Response:
    """Every kind."""
    served = summaries(services().database)
    return jsonify(kinds=[kind_json(kind, served.get(kind.name, [])) for kind in kinds().values()])


@routes.get("/kinds/<kind>", responses={200: KindBody})
@auth.needs("read")
def read(path: KindPath) -> Response:
    """A kind: JSON Schemas of its parameters, inline input and result, and the models that serve it."""
    kind = kinds().get(path.kind)
    if kind is None:
        raise Problem("not-found")
    return jsonify(kind_json(kind, summaries(services().database, kind.name).get(kind.name, [])))


def kind_json(kind: Kind, serving: list[dict[str, Any]]) -> dict[str, Any]:
    """A kind as the API answers it; `serving` are its models' versions in short."""
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
        "joined": kind.joined,
        "many": kind.splitter is not None,
        "default_model": kind.default_model,
        "timeout_s": kind.timeout_s,
        "params": kind.params.model_json_schema(),
        "input": None if kind.data is None else kind.data.model_json_schema(),
        "result": {**result, "$defs": definitions},
        "trainable": kind.trainer is not None,
        "formats": list(kind.formats),
        "recipes": {name: _recipe(recipe) for name, recipe in kind.recipes.items()},
        "contract": None if kind.contract is None else kind.contract.model_json_schema(),
        "models": serving,
        "href": f"/v1/kinds/{kind.name}",
    }


def _recipe(recipe: type[Recipe]) -> dict[str, Any]:
    return {"schema": recipe.model_json_schema(), "defaults": recipe().model_dump(mode="json")}
