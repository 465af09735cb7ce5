"""report.html of a kind that has none of its own: the common part of every result, pictures inside, no network.

Only the standard library draws it; every text that comes from a result is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from jobs.results import DISCLAIMER, Report

PICTURES = frozenset({"image/png", "image/jpeg", "image/svg+xml"})
"""Artifacts that are shown; as an <img> an SVG runs no script."""

MOST_PICTURE_BYTES = 32 << 20
"""Bytes of pictures in one page: beyond it they are named only."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #111 }
h1 { margin: 0 } h2 { margin: 1.6rem 0 .4rem; border-bottom: 1px solid #ccc; font-size: 1.15rem }
.note { background: #fff4d6; border: 1px solid #e0c060; padding: .4rem .7rem; margin: .8rem 0 }
.error { background: #fde8e8; border: 1px solid #d08080; padding: .4rem .7rem }
table { border-collapse: collapse; margin: .3rem 0 } td, th { text-align: left; vertical-align: top;
  padding: .15rem .8rem .15rem 0; border-bottom: 1px solid #eee } th { font-weight: 600 }
figure { display: inline-block; margin: .5rem 1rem .5rem 0 } img { max-width: 28rem; image-rendering: pixelated }
section { break-inside: avoid } figcaption, .soft { color: #555; font-size: .9em }
@media print { body { margin: 0; max-width: none } a { color: inherit } }
"""


def render(report: Report) -> str:
    """The page as HTML: head, warnings, one section per item, provenance."""
    job, result = report.job, report.result
    title = f"{job['kind']} report"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">Job {escape(str(job["id"]))}</p>',
        f'<p class="note">{escape(DISCLAIMER)}</p>',
        _facts(job, result),
        _warnings(result.get("warnings", ())),
        *_items(report),
        _section("Files", _files(result.get("artifacts", ()))),
        _section("Provenance", _value(result.get("provenance", {}))),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _facts(job: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    model = result.get("model") or {}
    facts = {
        "model": f"{model['name']} version {model['version']}" if model else "none",
        "submitted": job.get("created_at"),
        "finished": job.get("finished_at"),
        "labels": job.get("labels") or None,
    }
    return _value({name: value for name, value in facts.items() if value is not None})


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    return f'<div class="note"><ul>{"".join(f"<li>{escape(str(one))}</li>" for one in warnings)}</ul></div>'


def _items(report: Report) -> Iterable[str]:
    """One section per item, with the pictures that belong to it; those of the whole job come last."""
    room = [MOST_PICTURE_BYTES]
    artifacts = report.result.get("artifacts", ())
    for position, item in enumerate(report.result.get("items", ())):
        shown = _error(item["error"]) if "error" in item else _value(item)
        yield _section(f"Item {position}", shown + _pictures(report, artifacts, position, room))
    whole = _pictures(report, artifacts, None, room)
    if whole:
        yield _section("Pictures", whole)


def _error(error: Mapping[str, Any]) -> str:
    title, detail = escape(str(error.get("title", ""))), escape(str(error.get("detail", "")))
    return f'<div class="error"><b>{title}</b> ({escape(str(error.get("code", "")))}): {detail}</div>'


def _pictures(report: Report, artifacts: Iterable[Mapping[str, Any]], item: int | None, room: list[int]) -> str:
    shown = []
    for artifact in artifacts:
        if artifact.get("item") != item or artifact["media_type"] not in PICTURES:
            continue
        name = escape(str(artifact["name"]))
        content = report.artifact(artifact["name"])
        room[0] -= len(content)
        if room[0] < 0:
            shown.append(f'<p class="soft">{name}: not shown here, the page would grow too large</p>')
            continue
        source = f"data:{artifact['media_type']};base64,{base64.b64encode(content).decode()}"
        shown.append(f'<figure><img src="{source}" alt="{name}"><figcaption>{name}</figcaption></figure>')
    return "".join(shown)


def _files(artifacts: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(one['name']))}</td><td>{escape(str(one['media_type']))}</td></tr>" for one in artifacts
    )
    return f"<table>{rows}</table>" if rows else "<p>none</p>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _value(value: Any) -> str:
    """Any JSON value: objects as tables, arrays of objects as tables too, the rest as text."""
    if isinstance(value, Mapping):
        rows = "".join(f"<tr><th>{escape(str(key))}</th><td>{_value(entry)}</td></tr>" for key, entry in value.items())
        return f"<table>{rows}</table>" if rows else ""
    if isinstance(value, list | tuple):
        if any(isinstance(entry, Mapping | list | tuple) for entry in value):
            return "".join(_value(entry) for entry in value)
        return escape(", ".join(map(_text, value))) or "none"
    return escape(_text(value))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
