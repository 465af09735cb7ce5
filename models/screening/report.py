"""report.html of a screening: the best molecules drawn, the others as rows. No torch and no RDKit: the API draws it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from jobs.results import DISCLAIMER, Report
from models.page import POLICY, flat, template
from models.training.card import WORDS

FIGURES = {
    "mean_auc": "Mean AUROC over the targets",
    "auc": "AUROC",
    "auprc": "Average precision",
    "brier": "Brier score (lower is better)",
    "ece": "Expected calibration error (lower is better)",
    "mean_rmse": "Mean RMSE over the targets, in spreads of the training part (lower is better)",
    "rmse": "Root mean squared error (lower is better)",
    "mae": "Mean absolute error (lower is better)",
    "r2": "Share of the variance explained",
    "spearman": "Spearman's rank correlation",
    "coverage": "Share of measured values within their 90 % interval",
}
"""Metrics of a manifest that the page shows, in order."""

MOST_TARGETS = 4
"""Targets with a column of their own; the table that the job made has all of them."""


def render(report: Report) -> str:
    """Return the page for a finished job."""
    items = [item for item in report.result["items"] if "error" not in item]
    text: str = template(Path(__file__).parent).render(
        job=report.job,
        result=report.result,
        cards=[{"item": item, "source": source} for item, source in _drawn(report)],
        items=items,
        targets=[_headed(score) for score in items[0]["scores"]][:MOST_TARGETS] if items else [],
        numbers=bool(items) and "value" in items[0]["scores"][0],
        failed=[item["error"] for item in report.result["items"] if "error" in item],
        counts=(report.result.get("provenance") or {}).get("counts") or {},
        manifest=report.manifest,
        figures=figures(report.manifest),
        card=_card(report.manifest),
        provenance=flat(report.result.get("provenance", {})),
        disclaimer=DISCLAIMER,
        policy=POLICY,
    )
    return text


def figures(manifest: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, float], float | None, float | None]]:
    """Return (words, {value, low, high} of these weights, mean of the seeds, baseline's mean) per figure."""
    metrics = (manifest or {}).get("metrics") or {}
    test, mean = metrics.get("test") or {}, metrics.get("mean") or {}
    base = ((manifest or {}).get("baseline") or {}).get("mean") or {}
    return [(words, test[name], mean.get(name), base.get(name)) for name, words in FIGURES.items() if test.get(name)]


def _headed(score: Mapping[str, Any]) -> str:
    """A target, with its unit where it has one."""
    return f"{score['target']} [{score['unit']}]" if score.get("unit") else str(score["target"])


def _drawn(report: Report) -> list[tuple[Mapping[str, Any], Markup]]:
    """Each molecule that has a picture, and the picture."""
    found = []
    for file in report.result["artifacts"]:
        if file["media_type"] == "image/svg+xml" and file["item"] is not None:
            content = base64.b64encode(report.artifact(file["name"])).decode()
            found.append((report.result["items"][file["item"]], Markup("data:image/svg+xml;base64,") + content))
    return found


def _card(manifest: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the card's facts as (title, text), and the data."""
    if manifest is None:
        return []
    card, data = manifest.get("card") or {}, manifest.get("data") or {}
    words = [(title, str(card[key])) for key, title in WORDS.items() if card.get(key)]
    named = {"source": "Data", "license": "Licence"}
    return [*words, *((title, str(data[key])) for key, title in named.items() if data.get(key))]
