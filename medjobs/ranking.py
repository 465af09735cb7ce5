"""A screening's result as a table: the best molecules, one a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from medjobs.screen import table

MOST_ROWS = 25
"""Molecules printed; the table that the job made has every line."""

MOST_LETTERS = 48
MOST_TARGETS = 3


def drawn(items: Sequence[Mapping[str, Any]]) -> Table:
    """One row per ranked molecule: its answers with their spread, how near the training is, and alerts."""
    ranked = [item for item in items if "scores" in item][:MOST_ROWS]
    targets = [_target(score) for score in ranked[0]["scores"]][:MOST_TARGETS] if ranked else []
    columns = ("rank", "molecule", "name", *targets, "nearest", "alerts")
    return table(columns, [_row(item, len(targets)) for item in ranked], right=("rank", *targets, "nearest"))


def _row(item: Mapping[str, Any], targets: int) -> Sequence[object]:
    smiles, near = item["smiles"], item["applicability"]
    scores = [_score(score) for score in item["scores"][:targets]]
    nearest = f"{near['nearest_tanimoto']:.2f}" + ("" if near["in_domain"] else ", outside")
    alerts = ["PAINS"] if item["alerts"]["pains"] else []
    if item["alerts"]["lipinski_violations"]:
        alerts.append(f"Lipinski {item['alerts']['lipinski_violations']}")
    shown = smiles if len(smiles) <= MOST_LETTERS else smiles[: MOST_LETTERS - 1] + "…"
    return item["rank"], shown, item["name"] or "", *scores, nearest, ", ".join(alerts)


def _target(score: Mapping[str, Any]) -> str:
    return f"{score['target']} [{score['unit']}]" if score.get("unit") else str(score["target"])


def _score(score: Mapping[str, Any]) -> str:
    if "probability" in score:
        return f"{score['probability']:.3f} ± {score['spread']:.3f}"
    return f"{score['value']:.4g} ± {score['spread']:.2g}"
