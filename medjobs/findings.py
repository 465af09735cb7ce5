"""A result as a table, and its files on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from medjobs.client import Job, Result
from medjobs.screen import table

COLUMNS = ("input", "finding", "probability", "decision", "uncertainty", "evidence")


def drawn(result: Result, names: Sequence[str], saved: Mapping[str, Path]) -> Table:
    """One row per finding (or per item, for other kinds); `names` name the inputs, `saved` the files on disk."""
    rows = [row for position, item in enumerate(result.items) for row in _rows(item, _name(names, position), saved)]
    return table(COLUMNS, rows, right=("probability",))


def failures(result: Result, names: Sequence[str]) -> list[str]:
    """A line for each item that failed: which, its code, and what to do."""
    failed = [(i, item["error"]) for i, item in enumerate(result.items) if item.get("error")]
    return [f"{_name(names, i)}: {error['code']}: {error['detail']}" for i, error in failed]


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


def _rows(item: Mapping[str, Any], name: str, saved: Mapping[str, Path]) -> Iterator[Sequence[object]]:
    if error := item.get("error"):
        yield name, "-", "", "failed", error["code"], ""
        return
    if "findings" not in item:
        yield name, json.dumps(item, ensure_ascii=False)[:60], "", "", "", ""
        return
    maps = {evidence["label"]: evidence.get("artifact") for evidence in item.get("evidence", [])}
    for number, finding in enumerate(item["findings"]):
        label = finding["label"]
        drawing = maps.get(label)
        shown = [name if number == 0 else "", label, f"{finding['probability']:.3f}", finding["decision"]]
        yield *shown, _uncertainty(item.get("uncertainty", {})) if number == 0 else "", _place(drawing, saved)


def _uncertainty(uncertainty: Mapping[str, Any]) -> str:
    """What a reader needs first: whether to trust it, else how unsure it is (entropy in bits, 0 to 1 for yes/no)."""
    if uncertainty.get("abstain"):
        return f"abstains: {uncertainty.get('reason') or 'ask a clinician'}"
    entropy = uncertainty.get("entropy")
    return "" if entropy is None else f"{entropy:.2f} bit"


def _place(name: str | None, saved: Mapping[str, Path]) -> str:
    return "" if name is None else str(saved.get(name, name))
