"""The data card: what a data set holds and what the guards found, as markdown with plots. It names no case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.data import plots
from models.data.canonical import TRAIN, AnySet, ImageSet, SequenceSet
from models.data.facts import ages, balance, last_times, missing_statics, never_observed

SHOWN = 8
"""Images of a class on the sheet."""


def pictures(cases: AnySet) -> dict[str, bytes]:
    """File name -> SVG or PNG."""
    found = {"parts.svg": plots.stacked("Cases by part and outcome", balance(cases))}
    if isinstance(cases, SequenceSet):
        gaps = {**never_observed(cases), **missing_statics(cases)}
        worst = dict(sorted(gaps.items(), key=lambda pair: -pair[1]))
        found["missing.svg"] = plots.shares("Share of subjects in whom it was never observed", worst)
        counts, edges = np.histogram(last_times(cases), bins=24)
        found["lengths.svg"] = plots.histogram("Last observation", cases.unit, edges.tolist(), counts.tolist())
    years = ages(cases)
    if years is not None and len(years):
        counts, edges = np.histogram(years, bins=np.arange(0, 105, 10))
        found["ages.svg"] = plots.histogram("Age (90 and above together)", "years", edges.tolist(), counts.tolist())
    drawn = {name: text.encode() for name, text in found.items()}
    if isinstance(cases, ImageSet):
        drawn["samples.png"] = plots.sheet(cases.images, _samples(cases))
    return drawn


def _samples(cases: ImageSet) -> list[list[int]]:
    """For each of the first classes, training images by the order of their keys: chosen by nobody."""
    rows = cases.part(TRAIN)
    rows = rows[np.argsort(cases.key[rows])]
    return [rows[cases.labels[rows] == label][:SHOWN].tolist() for label in range(min(len(cases.classes), 10))]


def card(item: Mapping[str, Any], names: Sequence[str]) -> str:
    """The markdown of a result's item; `names`: the pictures that lie beside it."""
    facts = item["facts"]
    lines = [
        "# Data card",
        "",
        f"Format `{item['format']}`, fingerprint `{item['fingerprint']}`.",
        "Research use only, not a medical device.",
        "",
        "## Cases",
        "",
        *_table(("part", "cases", "outcome"), _parts(item)),
        "",
        "## What the guards found",
        "",
        *([f"- **{w['guard']}** ({w['count']}): {_cell(w['detail'])}" for w in item["warnings"]] or ["Nothing."]),
        "",
        "Guards look for copies, for inputs that know the outcome and for shortcuts. What they did not find may still",
        "be there.",
        "",
        *_groups(facts.get("groups", {})),
        *_variables(facts),
        *(f"![{name.partition('.')[0]}]({name})\n" for name in names),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _parts(item: Mapping[str, Any]) -> list[Sequence[Any]]:
    def mixed(part: str) -> str:
        return ", ".join(f"{_cell(name)} {count}" for name, count in item["classes"].get(part, {}).items())

    return [(part, count, mixed(part)) for part, count in item["counts"].items()]


def _groups(groups: Mapping[str, Mapping[str, int]]) -> list[str]:
    if not groups:
        return []
    rows = [
        (name, ", ".join(f"{_cell(value)} {count}" for value, count in sizes.items())) for name, sizes in groups.items()
    ]
    return ["## Subgroups", "", *_table(("group", "cases"), rows), ""]


def _variables(facts: Mapping[str, Any]) -> list[str]:
    variables = facts.get("variables", {})
    if not variables:
        return []
    head = ("variable", "observations", "never observed", "1 %", "median", "99 %")
    rows = [
        (
            name,
            v["observations"],
            f"{100 * v['never_observed']:.1f} %",
            *(v.get(q, "") for q in ("p1", "median", "p99")),
        )
        for name, v in variables.items()
    ]
    gaps = [(name, f"{100 * share:.1f} %") for name, share in facts["static_missing"].items()]
    static = ["## Static columns", "", *_table(("column", "missing"), gaps), ""] if gaps else []
    return ["## Variables", "", *_table(head, rows[:200]), "", *static]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]


def _cell(value: Any) -> str:
    """A cell that cannot leave its cell."""
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
