"""report.html of a prediction: pictures inside, nothing fetched, fit to print. Imports no torch: the API draws it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from jobs.results import DISCLAIMER, Report
from models.page import POLICY, flat, template
from models.training.card import WORDS

IN_FULL = 50
"""Patients shown with picture and weights; the others have a row in a table."""

MOST_PICTURE_BYTES = 32 << 20
"""Pictures beyond this sum are named and not inlined: a browser should still open the page."""

FIGURES = {
    "auc": "AUROC",
    "auprc": "AUPRC",
    "min_se_pp": "min(sensitivity, precision)",
    "c_index": "C-index",
    "brier": "Brier score (lower is better)",
    "ibs": "Integrated Brier score (lower is better)",
    "ece": "Expected calibration error (lower is better)",
}
"""Metrics of a manifest that have a value with an interval, in the order of the table."""

CARD = {**WORDS, "intervals": "Intervals", "calibration": "Calibration"}
"""Entries of a manifest's card that the page shows, in order."""


def render(report: Report) -> str:
    """Return the page for a finished job."""
    items = list(_items(report))
    text: str = template(Path(__file__).parent).render(
        job=report.job,
        result=report.result,
        items=items[:IN_FULL],
        others=items[IN_FULL:],
        unit=((report.manifest or {}).get("contract") or {}).get("unit", ""),
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
    known = {**FIGURES, **{name: name for name in test if name not in FIGURES}}
    return [
        (words, test[name], mean.get(name), base.get(name))
        for name, words in known.items()
        if isinstance(test.get(name), Mapping) and {"value", "low", "high"} <= test[name].keys()
    ]


def _items(report: Report) -> Sequence[dict[str, Any]]:
    """Return every item with its number (from 1); the first `IN_FULL` with their pictures."""
    room = MOST_PICTURE_BYTES
    names = {file["item"]: file["name"] for file in report.result["artifacts"] if file["media_type"] == "image/svg+xml"}
    found: list[dict[str, Any]] = []
    for position, item in enumerate(report.result["items"]):
        name, source = names.get(position), None
        if name is not None and position < IN_FULL:
            content = report.artifact(name)
            room -= len(content)
            if room >= 0:
                source = Markup("data:image/svg+xml;base64,") + base64.b64encode(content).decode()
        found.append({"number": position + 1, "entry": item, "name": name, "source": source})
    return found


def _card(manifest: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the card's facts as (title, text), what the intervals and the calibration are, and the data."""
    if manifest is None:
        return []
    card, data = manifest.get("card") or {}, manifest.get("data") or {}
    words = [(title, str(card[key])) for key, title in CARD.items() if card.get(key)]
    named = {"source": "Data", "license": "Licence"}
    return [*words, *((title, str(data[key])) for key, title in named.items() if data.get(key))]
