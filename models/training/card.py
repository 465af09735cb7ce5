"""A model card in Markdown, in the order of CHAI's applied model card, from any kind's manifest. No torch, no date:
equal weights have equal cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.results import DISCLAIMER

WORDS = {
    "intended_use": "Intended use",
    "out_of_scope": "Out of scope",
    "population": "Population",
    "known_risks": "Known risks and limits",
    "bias": "Bias and subgroups",
    "human_oversight": "Human oversight",
}
"""Name in the manifest's `card` -> title; what nobody said is printed as not stated."""


def card(manifest: Mapping[str, Any]) -> str:
    """The card's text."""
    said, data = manifest.get("card") or {}, manifest["data"]
    counts = ", ".join(f"{name} {count}" for name, count in (data.get("counts") or {}).items())
    parts = [
        f"# {manifest['name']}",
        f"{manifest['summary']} {DISCLAIMER}",
        *(f"## {title}\n\n{said.get(key) or 'Not stated.'}" for key, title in WORDS.items()),
        "## Data",
        f"{data['name']} ({counts} cases), fingerprint `{data['fingerprint']}`. {_source(data)}".strip(),
        "## Figures",
        *figures(manifest),
        "## Making it again",
        _making(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def figures(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The table of the test part beside the baseline, the verdict, and the subgroups."""
    metrics, baseline = manifest.get("metrics") or {}, manifest.get("baseline") or {}
    test = metrics.get("test") or {}
    rows = {name: one for name, one in test.items() if isinstance(one, Mapping) and "value" in one}
    if not rows:
        yield "The data set has no test part, so there is no figure on cases that the training did not see."
    else:
        yield f"Test part, n = {test.get('n', '?')}, read once, at the end; 95 % intervals by bootstrap."
        mean, plain = metrics.get("mean") or {}, baseline.get("mean") or {}
        lines = [f"| | this version | mean of the seeds | {baseline.get('name', 'baseline')} |", "|---|---|---|---|"]
        for name, one in rows.items():
            shown = f"{number(one['value'])} ({number(one.get('low'))} to {number(one.get('high'))})"
            lines.append(f"| {name} | {shown} | {number(mean.get(name))} | {number(plain.get(name))} |")
        yield "\n".join(lines)
    if "beaten" in baseline:
        yield f"It {'beats' if baseline['beaten'] else 'does not beat'} the simple baseline {baseline.get('name', '')}."
    groups = metrics.get("subgroups") or {}
    if groups:
        lines = ["| subgroup | n | figures |", "|---|---|---|"]
        lines += [f"| {name} | {one.get('n', '?')} | {_short(one)} |" for name, one in groups.items()]
        yield "\n".join(lines)


def number(value: Any) -> str:
    """A figure, or its value where it has an interval; a dash for none."""
    if isinstance(value, Mapping):
        value = value.get("value")
    return f"{value:.3f}" if isinstance(value, int | float) else "-"


def _short(group: Mapping[str, Any]) -> str:
    shown = [
        f"{name} {number(one)} ({number(one.get('low'))} to {number(one.get('high'))})"
        for name, one in group.items()
        if isinstance(one, Mapping) and "value" in one
    ]
    return ", ".join(shown) or "too few cases"


def _source(data: Mapping[str, Any]) -> str:
    said = {"Source": data.get("source"), "Licence": data.get("license"), "Attribution": data.get("attribution")}
    return " ".join(f"{title}: {text}." for title, text in said.items() if text)


def _making(manifest: Mapping[str, Any]) -> str:
    steps = sum(manifest["plan"]["steps"].values())
    seeds = ", ".join(str(seed) for seed in manifest["seeds"])
    parent = manifest.get("parent")
    begun = f" It went on from {parent['name']}@{parent['version']}." if parent else ""
    return (
        f"`{manifest['made_with']}`: {steps} steps in {len(manifest['plan']['steps'])} fits, seeds {seeds}.{begun} "
        + repeated(
            manifest,
            f"Equal libraries, threads ({manifest['plan']['threads']}) and instruction set "
            f"({manifest['plan']['instruction_set']}) give equal weights.",
        )
    )


def repeated(manifest: Mapping[str, Any], equal: str) -> str:
    """What making it again gives: `equal`, unless the training was interrupted and went on in another environment."""
    moves = manifest.get("resumed_elsewhere")
    if not moves:
        return equal
    names = ", ".join(sorted({name for move in moves for name in move}))
    return f"It was interrupted and went on elsewhere (another {names}): made again, the last digits may differ."
