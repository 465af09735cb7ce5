"""A result as a table, and its files on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from medjobs import ranking
from medjobs.client import Job, Result
from medjobs.screen import table

MOST_DOUBTS = 5
"""Reasons printed below a table; the report has them all."""

COLUMNS = ("input", "finding", "probability", "decision", "uncertainty", "evidence")
RISK_COLUMNS = ("input", "outcome", "horizon", "probability", "members", "moved most by")

MOST_FEATURES = 3
"""Features named per patient; the report draws all of them."""


def drawn(result: Result, names: Sequence[str]) -> Table:
    """One row per finding or risk (or per item, for other kinds); `names` name the inputs."""
    if any("rank" in item for item in result.items):
        return ranking.drawn(result.items)
    named = [(_name(names, position), item) for position, item in enumerate(result.items)]
    if any("risks" in item for _, item in named):
        rows = [row for name, item in named for row in _risks(item, name)]
        return table(RISK_COLUMNS, rows, right=("horizon", "probability"))
    if not any("findings" in item for _, item in named):
        return table(("input", "result"), [(name, _plain(item)) for name, item in named])
    rows = [row for name, item in named for row in _rows(item, name)]
    return table(COLUMNS, rows, right=("probability",))


def failures(result: Result, names: Sequence[str]) -> list[str]:
    """A line for each item that failed: which, its code, and what to do."""
    failed = [(i, item["error"]) for i, item in enumerate(result.items) if item.get("error")]
    return [f"{_failed(names, i, error)}: {error['code']}: {error['detail']}" for i, error in failed]


def doubts(result: Result, names: Sequence[str]) -> list[str]:
    """Why the model abstains, a line for each of the first images where it does."""
    items = [(_name(names, i), item.get("uncertainty") or {}) for i, item in enumerate(result.items)]
    lines = [f"{name}: {found['reason']}" for name, found in items if found.get("abstain")]
    return lines if len(lines) <= MOST_DOUBTS else [*lines[:MOST_DOUBTS], f"... and {len(lines) - MOST_DOUBTS} more."]


def save(job: Job, result: Result, folder: Path) -> dict[str, Path]:
    """Download the job's artifacts into `folder`; returns where each lies."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = {}
    for artifact in result.artifacts:
        # The server's name becomes a file's name: nothing of it may lead out of the folder.
        path = folder / Path(artifact.name).name
        path.write_bytes(job.artifact(artifact.name))
        saved[artifact.name] = path
    return saved


def _name(names: Sequence[str], position: int) -> str:
    return names[position] if position < len(names) else f"#{position + 1}"


def _failed(names: Sequence[str], position: int, error: Mapping[str, Any]) -> str:
    """What failed: the input, or a line of it."""
    if "line" not in error:
        return _name(names, position)
    return f"{_name(names, error['item'])}, line {error['line']}"


def _rows(item: Mapping[str, Any], name: str) -> Iterator[Sequence[object]]:
    if error := item.get("error"):
        yield name, "-", "", "failed", error["code"], ""
        return
    maps = {evidence["label"]: evidence.get("artifact") for evidence in item.get("evidence", [])}
    for number, finding in enumerate(item["findings"]):
        label = finding["label"]
        drawing = maps.get(label)
        shown = [name if number == 0 else "", label, f"{finding['probability']:.3f}", finding["decision"]]
        yield *shown, _uncertainty(item.get("uncertainty", {})) if number == 0 else "", drawing or ""


def _risks(item: Mapping[str, Any], name: str) -> Iterator[Sequence[object]]:
    if error := item.get("error"):
        yield name, "-", "", "", error["code"], ""
        return
    abstains = "abstains" if item.get("uncertainty", {}).get("abstain") else ""
    for number, risk in enumerate(item["risks"]):
        horizon = "" if risk.get("horizon") is None else f"{risk['horizon']:g}"
        low, high = risk.get("interval") or (risk["probability"], risk["probability"])
        doubt = ", ".join(part for part in (f"{low:.3f} to {high:.3f}", "" if number else abstains) if part)
        shown = (risk["outcome"], horizon, f"{risk['probability']:.3f}", doubt)
        yield ("" if number else name, *shown, "" if number else _strongest(item))


def _strongest(item: Mapping[str, Any]) -> str:
    """The features that moved the risk most, each with the sum of what its bins add to the logit."""
    sums: dict[str, float] = {}
    for one in item.get("attributions") or ():
        sums[one["feature"]] = sums.get(one["feature"], 0.0) + one["weight"]
    ranked = sorted(sums.items(), key=lambda pair: -abs(pair[1]))[:MOST_FEATURES]
    return ", ".join(f"{feature} {weight:+.2f}" for feature, weight in ranked)


def _plain(item: Mapping[str, Any]) -> str:
    """The item of a kind whose results this module has no columns for."""
    if error := item.get("error"):
        return f"failed: {error['code']}"
    if "synthetic" in item:
        counts = ", ".join(f"{count} {name}" for name, count in item["classes"].items())
        return f"{item['count']} synthetic pictures ({counts}) in {item['file']}; sheet.png shows the first"
    if "fingerprint" in item:  # a data set, whose card and facts are `medjobs data show`'s to print
        parts = ", ".join(f"{count} {part}" for part, count in item["counts"].items())
        return f"{item['format']}: {parts}; {len(item['warnings'])} warnings; fingerprint {item['fingerprint'][:16]}"
    return json.dumps(item, ensure_ascii=False)


def _uncertainty(uncertainty: Mapping[str, Any]) -> str:
    """How unsure the model is (entropy in bits: 0 is sure, 1 is yes or no alike), and whether it abstains."""
    entropy = uncertainty.get("entropy")
    said = "" if entropy is None else f"{entropy:.2f} bit"
    return f"{said}, abstains" if uncertainty.get("abstain") else said
