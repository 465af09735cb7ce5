"""report.html of a training: figures beside the baseline, curves, plots, card. Imports no torch: the API draws it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from jobs.results import DISCLAIMER, Report
from models.page import POLICY, flat, template
from models.training.card import number

CURVES, CARD = "curves.svg", "card.md"
SVG, PNG = "image/svg+xml", "image/png"


def render(report: Report) -> str:
    """The page of a finished training."""
    item = report.result["items"][0]
    version, baseline = item.get("version"), item["baseline"].get("name", "baseline")
    test = item["metrics"].get("test") or {}
    text: str = template(Path(__file__).parent).render(
        job=report.job,
        result=report.result,
        item=item,
        title=f"Training of {version['name']}, version {version['version']}" if version else "Training",
        rows=_rows(item),
        n=test.get("n", "?"),
        baseline=baseline,
        seconds=(report.result.get("provenance", {}).get("plan") or {}).get("seconds") or {},
        verdict=_verdict(item["beats_baseline"], baseline),
        curves=_pictures(report, lambda name: name == CURVES),
        plots=_pictures(report, lambda name: name != CURVES),
        pictures=_pictures(report, lambda name: True, PNG),
        card=Markup("\n").join(html(_text(report, CARD))),
        provenance=flat(report.result.get("provenance", {})),
        disclaimer=DISCLAIMER,
        policy=POLICY,
    )
    return text


def _verdict(beats: bool | None, baseline: str) -> str:
    if beats is None:
        return "There is no baseline to compare with."
    return f"It {'beats' if beats else 'does not beat'} the simple baseline {baseline}."


def _rows(item: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per figure of the test part."""
    metrics, baseline = item["metrics"], item["baseline"]
    mean, plain = metrics.get("mean") or {}, baseline.get("mean") or {}
    return [
        {
            "name": name,
            "value": number(one["value"]),
            "low": number(one.get("low")),
            "high": number(one.get("high")),
            "mean": number(mean.get(name)),
            "baseline": number(plain.get(name)),
        }
        for name, one in (metrics.get("test") or {}).items()
        if isinstance(one, Mapping) and "value" in one
    ]


def _pictures(report: Report, wanted: Any, form: str = SVG) -> list[dict[str, str]]:
    """The artifacts of a form whose name is wanted, inline: inside an <img> an SVG runs no script."""
    names = [one["name"] for one in report.result.get("artifacts", ()) if one["media_type"] == form]
    return [
        {"name": name, "source": f"data:{form};base64,{base64.b64encode(report.artifact(name)).decode()}"}
        for name in names
        if wanted(name)
    ]


def _text(report: Report, name: str) -> str:
    known = {one["name"] for one in report.result.get("artifacts", ())}
    return report.artifact(name).decode() if name in known else ""


def html(markdown: str) -> Iterator[Markup]:
    """The card's blocks as HTML: headings, tables and paragraphs, which is all that a card has; text is escaped."""
    for block in markdown.split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        if not lines:
            continue
        if lines[0].startswith("#"):
            yield Markup(f"<h3>{escape(lines[0].lstrip('# '))}</h3>")  # noqa: S704
        elif lines[0].startswith("|"):
            yield _table([line for line in lines if not set(line) <= set("|-: ")])
        else:
            yield Markup(f"<p>{escape(' '.join(lines))}</p>")  # noqa: S704


def _table(lines: Sequence[str]) -> Markup:
    rows = [[escape(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in lines]
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return Markup(f"<table>{body}</table>")  # noqa: S704
