"""A version's figures as a table: its own with their intervals, and the simple baseline's beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from medjobs.screen import table

COLUMNS = ("figure", "test part", "95 % interval", "mean of seeds", "baseline")

LESS_TOLD = frozenset({"ece_if_perfect"})
"""Figures that explain another one and are left to the card."""


def drawn(manifest: Mapping[str, Any]) -> Table:
    """One row per figure of the test part."""
    metrics, baseline = manifest.get("metrics") or {}, manifest.get("baseline") or {}
    means = metrics.get("mean") or {}
    simple = baseline.get("mean") or baseline.get("metrics") or {}
    rows = [
        (name, _number(figure.get("value")), _interval(figure), _number(means.get(name)), _number(simple.get(name)))
        for name, figure in _figures(metrics)
    ]
    columns = (*COLUMNS[:-1], f"{COLUMNS[-1]} {baseline.get('name', '')}".strip())
    return table(columns, rows, right=columns[1:])


def verdict(manifest: Mapping[str, Any]) -> str:
    """Whether it beats its baseline, said plainly; empty where it has none."""
    baseline = manifest.get("baseline") or {}
    if "beaten" not in baseline:
        return ""
    return f"It {'beats' if baseline['beaten'] else 'DOES NOT BEAT'} the simple baseline {baseline.get('name', '')}."


def headline(manifest: Mapping[str, Any]) -> str:
    """The first figure in few words, `auc 0.985 (0.973 to 0.994)`; empty where there are none."""
    for name, figure in _figures(manifest.get("metrics") or {}):
        return f"{name} {_number(figure.get('value'))} ({_interval(figure)})"
    return ""


def differences(found: Mapping[str, Any], a: str, b: str) -> Table:
    """A comparison: one row per figure over all cases, then per subgroup."""
    rows = [_difference("all", found["n"], one) for one in found["differences"]]
    for group in found["subgroups"]:
        rows += [_difference(group["name"], group["n"], one) for one in group["differences"]]
        if not group["differences"]:
            rows.append((group["name"], group["n"], "(too few cases)", "", "", "", ""))
    columns = ("cases", "n", "figure", a, b, "difference", "95 % interval")
    return table(columns, rows, right=("n", a, b, "difference"))


def _difference(cases: str, n: int, one: Mapping[str, Any]) -> tuple[object, ...]:
    interval = f"{one['low']:+.4f} to {one['high']:+.4f}"
    return cases, n, one["figure"], _number(one["a"]), _number(one["b"]), f"{one['difference']:+.4f}", interval


def _figures(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, figure in (metrics.get("test") or {}).items():
        if isinstance(figure, Mapping) and "value" in figure and name not in LESS_TOLD:
            yield name, figure


def _number(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("value")
    return f"{value:.4f}" if isinstance(value, (int, float)) else ""


def _interval(figure: Mapping[str, Any]) -> str:
    low, high = figure.get("low"), figure.get("high")
    return f"{low:.4f} to {high:.4f}" if low is not None and high is not None else ""
