"""Many rows in one statement: a batch travels as one JSON parameter and is read as a relation.

The statement's text then never depends on how many rows there are: it is compiled once, PostgreSQL prepares it once,
and no limit on parameters is met. (Both databases read JSON faster than SQLAlchemy renders a long VALUES list.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Cast, FromClause, Text, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.types import TypeEngine

from db.text import clean_deep


def relation(dialect: str, name: str, **columns: TypeEngine[Any]) -> FromClause:
    """The rows of the JSON document bound as `name`, with the columns given; aliased `<name>`."""
    document = bindparam(name, type_=Text)
    if dialect == "postgresql":
        shape = [column(key, kind) for key, kind in columns.items()]
        rows = func.json_to_recordset(Cast(document, JSON)).table_valued(*shape, name=name)
        return rows.render_derived(name=name, with_types=True)
    each = func.json_each(document).table_valued("value", name=f"{name}_each")
    fields = [func.json_extract(each.c.value, f"$.{key}", type_=kind).label(key) for key, kind in columns.items()]
    return select(*fields).select_from(each).subquery(name)


def document(rows: Iterable[Mapping[str, Any]]) -> str:
    """The JSON parameter for `relation`. Strings that no database can hold are cleaned."""
    listed = list(rows)
    text = json.dumps(listed)
    if "\\u0000" in text or "\\ud" in text:
        return json.dumps(clean_deep(listed), ensure_ascii=False)
    return text


def ids(values: Iterable[str]) -> str:
    """The JSON parameter for a relation of the one column `id`, each once, in sorted order."""
    return document({"id": value} for value in sorted(set(values)))
