"""What the pages of all kinds' reports share: the template and its policy, and provenance as rows of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy of the page: whatever stands in it, nothing is fetched and no script runs."""


@cache
def template(folder: Path) -> Any:
    """The compiled report.html.jinja of a folder; every value is escaped unless it is `Markup` made by the report."""
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = lambda value: f"{float(value):.1%}"
    return environment.get_template("report.html.jinja")


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return nested JSON as rows of dotted name and text, in order."""
    if isinstance(value, Mapping) and value:
        return [row for key, one in value.items() for row in flat(one, f"{name}.{key}" if name else str(key))]
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0:
        if not any(isinstance(one, Mapping | list | tuple) for one in value):
            return [(name, ", ".join(map(_text, value)))]
        return [row for number, one in enumerate(value, start=1) for row in flat(one, f"{name}.{number}")]
    return [(name, _text(value))]


def _text(value: Any) -> str:
    if value is None or value == {} or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
