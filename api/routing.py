"""A blueprint whose views declare what they take; OpenAPI is made from the same declarations.

flask-openapi3 reads the annotations `path`, `query` and `body` for the document. Reading the request is ours
(docs/adr/0002): its own reader builds a JSON schema for each request and hides whether a body was JSON at all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Request, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel

from api import auth, bodies
from api.accepting import validated
from api.problems import FieldError, Problem
from api.services import services

METHODS = ("get", "post", "put", "delete", "patch")


class Routes(APIBlueprint):
    """An APIBlueprint that checks scope, path, query and body in this order, before the view runs."""

    @staticmethod
    def create_view_func(
        func: Any,
        header: Any,
        cookie: Any,
        path: type[BaseModel] | None,
        query: type[BaseModel] | None,
        form: Any,
        body: type[BaseModel] | None,
        raw: Any,
        view_class: Any = None,
        view_kwargs: Any = None,
        responses: Any = None,
        validate_response: bool | None = None,
    ) -> Callable[..., Any]:
        """The view that Flask calls. The signature is flask-openapi3's."""
        scope: str | None = getattr(func, "scope", None)
        lists = _lists(query) if query is not None else frozenset()

        @wraps(func)
        def view(**parts: Any) -> Any:
            if scope is not None:
                auth.authorise(scope, services().authenticator)
            given: dict[str, Any] = {}
            if path is not None:
                given["path"] = path.model_construct(**parts)  # Flask's converters have checked it
            if query is not None:
                given["query"] = read_query(request, query, lists)
            if body is not None:
                given["body"] = validated(body, bodies.read_json(services().settings.max_body_bytes))
            return func(**given)

        return view


def register(app: OpenAPI, routes: Routes) -> None:
    """Add the routes of one noun. The extension would replace a path that another noun has begun: they are joined."""
    for path, item in routes.paths.items():
        for method in METHODS:
            begun = getattr(app.paths.get(path), method, None)
            if begun is not None and getattr(item, method) is None:
                setattr(item, method, begun)
    app.register_api(routes)


def _lists(model: type[BaseModel]) -> frozenset[str]:
    """The query parameters that may come more than once."""
    properties = model.model_json_schema().get("properties", {})
    return frozenset(name for name, schema in properties.items() if schema.get("type") == "array")


def read_query(source: Request, model: type[BaseModel], lists: frozenset[str]) -> BaseModel:
    """The query string as `model`; `label.NAME=value` pairs become the field `labels` where the model has it."""
    found: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for name, values in source.args.lists():
        if bodies.UNSAFE_TEXT.search(name) or any(bodies.UNSAFE_TEXT.search(value) for value in values):
            raise Problem("invalid-request", errors=[FieldError("#/query", bodies.UNSAFE_DETAIL)])
        if name.startswith("label.") and "labels" in model.model_fields and len(values) == 1:
            labels[name.removeprefix("label.")] = values[0]
        elif name in lists:
            found[name] = values
        elif len(values) == 1:
            found[name] = values[0]
        else:
            shown = f"#/query/{name}" if name in model.model_fields else "#/query"
            raise Problem("invalid-request", errors=[FieldError(shown, "Give this parameter once.")])
    if "labels" in found:
        raise Problem("invalid-request", errors=[FieldError("#/query", "Filter by labels with label.NAME=VALUE.")])
    if labels:
        found["labels"] = labels
    return validated(model, found, ("query",))
