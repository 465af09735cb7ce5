"""pydantic's errors as our own: pointers made of our names alone, texts that repeat no value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from api.problems import FieldError, pointer
from jobs.nested import NESTED

GENERIC = "This value is not of the declared type; the schema is at /docs."

QUOTING = frozenset({"union_tag_invalid", "uuid_parsing", "url_parsing", "literal_error_tag"})
"""pydantic errors whose message repeats a part of the value."""


def field_errors(
    error: ValidationError, model: type[BaseModel], document: Any, prefix: Sequence[str | int] = ()
) -> list[FieldError]:
    """Every error of validating `document` against `model`; `prefix` says where the document stood in the body."""
    names = known_names(model)
    found: list[FieldError] = []
    for one in error.errors(include_url=False):
        if one["type"] == NESTED:
            found += _nested(one, document, prefix)
        else:
            found.append(FieldError(_pointer(one["loc"], one["type"], names, document, prefix), _detail(one, names)))
    return found


def _nested(one: Any, document: Any, prefix: Sequence[str | int]) -> list[FieldError]:
    """The errors of a part that a schema of its own checked; `loc` is of our own names."""
    for part in one["loc"]:
        document = _child(document, part)
    return field_errors(one["ctx"]["error"], one["ctx"]["model"], document, (*prefix, *one["loc"]))


@cache
def known_names(model: type[BaseModel]) -> frozenset[str]:
    """Every property name in the model's JSON schema: the names that an error may show."""
    return frozenset(_properties(model.model_json_schema()))


def _properties(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from value
            yield from _properties(value)
    elif isinstance(schema, list):
        for entry in schema:
            yield from _properties(entry)


def _pointer(
    loc: tuple[int | str, ...], sort: str, names: frozenset[str], document: Any, prefix: Sequence[str | int]
) -> str:
    """The pointer of one error. `loc` also holds callers' keys (never shown) and tags of unions (nowhere in it)."""
    shown: list[str | int] = list(prefix)
    node = document
    for position, part in enumerate(loc):
        here = _child(node, part)
        last = position == len(loc) - 1
        if here is _ABSENT and not (last and sort == "missing"):
            continue
        if isinstance(part, str) and part not in names:
            break
        shown.append(part)
        node = here
    return pointer(*shown)


_ABSENT = object()


def _child(node: Any, part: int | str) -> Any:
    if isinstance(node, dict) and part in node:
        return node[part]
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    return _ABSENT


def _detail(one: Any, names: frozenset[str]) -> str:
    if one["type"] == "extra_forbidden":
        return f"Remove the member that is not known here. Known names: {', '.join(sorted(names))}."
    if one["type"] in QUOTING or _quotes(one["msg"], one.get("input"), names):
        return GENERIC
    message: str = one["msg"]
    return message if message.endswith(".") else f"{message}."


def _quotes(message: str, value: Any, names: frozenset[str]) -> bool:
    """Whether the message repeats a piece of text that the caller sent; `names` are ours."""
    if isinstance(value, str):
        return len(value) > 1 and value in message
    if isinstance(value, dict):
        keys = (key for key in value if key not in names)
        return any(_quotes(message, entry, names) for entry in (*keys, *value.values()))
    if isinstance(value, list | tuple):
        return any(_quotes(message, entry, names) for entry in value)
    return False
