"""JSON bodies: read under a size cap, parsed strictly, and searched for what no database or log should meet."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Never

from flask import request

from api.problems import FieldError, Problem, pointer
from api.submission import BatchEntry

MAX_DEPTH = 32
"""Levels of arrays and objects; deeper JSON is an attack or a mistake, and recursion is not free."""

_UNSAFE_ESCAPES = re.compile(rb"\\[ubf]|\x7f|\xc2[\x80-\x9f]")
"""What the raw bytes must hold for any string in them to be unsafe; without it the strings need no look."""

UNSAFE_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but tab and line ends, and lone surrogates: PostgreSQL and terminals choke on them."""

UNSAFE_DETAIL = "Remove control characters (U+0000 among them) and lone surrogates from this text."


class _Duplicate(ValueError):
    """An object names the same member twice; parsers disagree about which counts."""


def read_json(limit: int) -> Any:
    """The request's body as JSON, at most `limit` bytes; raises `Problem`."""
    request.max_content_length = limit
    return parse(request.get_data(cache=False))


def parse(raw: bytes) -> Any:
    """Strict JSON: UTF-8, no duplicate names, no NaN or infinity, at most 32 deep, no control characters."""
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except _Duplicate:
        raise Problem("invalid-request", errors=[FieldError("#", "Name each member of an object once.")]) from None
    except RecursionError:
        raise Problem("nesting-too-deep") from None
    except ValueError as error:
        place = f" The text breaks at byte {error.pos}." if isinstance(error, json.JSONDecodeError) else ""
        remedy = "Send one JSON object in UTF-8, without NaN or Infinity." if raw else "The body is empty: send JSON."
        raise Problem("invalid-json", remedy + place) from None
    # Counting opening brackets bounds the depth from above, so that most bodies are never walked.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH or _UNSAFE_ESCAPES.search(raw):
        walk(value)
    return value


def walk(value: Any, path: tuple[str | int, ...] = ()) -> None:
    """Raise `Problem` where a string holds what cannot be stored or shown, or the nesting is too deep.

    Names of members may be the caller's words, so the pointer stops before the first that is not ours.
    """
    if isinstance(value, dict | list) and len(path) >= MAX_DEPTH:
        raise Problem("nesting-too-deep")
    if isinstance(value, str):
        if UNSAFE_TEXT.search(value):
            raise Problem("invalid-request", errors=[FieldError(_known(path), UNSAFE_DETAIL)])
    elif isinstance(value, dict):
        for name, entry in value.items():
            if UNSAFE_TEXT.search(name):
                raise Problem("invalid-request", errors=[FieldError(_known(path), UNSAFE_DETAIL)])
            walk(entry, (*path, name))
    elif isinstance(value, list):
        for position, entry in enumerate(value):
            walk(entry, (*path, position))


OUR_NAMES = frozenset({"jobs", "atomic", "data", "series", "archive", *BatchEntry.model_fields})
"""Members of a submission: names that a pointer may show because they are ours."""


def _known(path: tuple[str | int, ...]) -> str:
    shown: list[str | int] = []
    for part in path:
        if isinstance(part, str) and part not in OUR_NAMES:
            break
        shown.append(part)
        if part in ("labels", "params", "data"):  # what lies below is the caller's
            break
    return pointer(*shown)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Duplicate
    return found


def _refuse(constant: str) -> Never:
    raise ValueError(constant)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number beyond the range of a double")
    return value
