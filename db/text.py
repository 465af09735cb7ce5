"""Strings and JSON as both databases can hold them.

PostgreSQL's text holds neither U+0000 nor lone surrogates, which JSON and Python strings may contain. The API refuses
them where a person typed them; what still arrives (a message of a library, a file's own text) must not break a
transaction that holds other jobs.
"""

from __future__ import annotations

import json
import re
from typing import Any

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` with U+0000 and lone surrogates replaced by U+FFFD (the replacement character)."""
    return _UNSTORABLE.sub("\ufffd", text)


def clean_deep(value: Any) -> Any:
    """A JSON value with every string in it, keys included, cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): clean_deep(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [clean_deep(entry) for entry in value]
    return value


class SafeText(TypeDecorator[str]):
    """Text whose bound values are cleaned, in comparisons too: an odd id finds nothing and raises nothing."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean what is written or compared."""
        return None if value is None else clean(value)


class Json(TypeDecorator[Any]):
    """A JSON value as ASCII text: `\\u0000` and lone surrogates stay escapes, so every string comes back as it went.

    None is SQL's NULL. NaN and infinity raise ValueError, as JSON has no word for them.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Serialise."""
        return None if value is None else dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Parse."""
        return None if value is None else json.loads(value)


def dumps(value: Any) -> str:
    """Compact ASCII JSON; raises ValueError on NaN and infinity, TypeError on what JSON cannot carry."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
