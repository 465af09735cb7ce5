"""The files of a data set to its canonical form, facts and card: read, sound, guarded, ordered, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.kinds import resolve
from models.data import guards, soundness
from models.data.canonical import AnySet, dump, fingerprint, ordered
from models.data.card import card, pictures
from models.data.facts import balance, facts
from models.data.options import OPTIONS
from models.data.problems import Notes

READERS: Mapping[str, str] = {name: f"models.data.formats.{name}:read" for name in OPTIONS}
"""Format -> its reader, resolved when it is needed: RDKit and polars are read for nothing otherwise."""


@dataclass(frozen=True)
class Validated:
    """A result's item (`DatasetItem`) and its files by name: the canonical form and the card's pictures."""

    item: dict[str, Any]
    files: dict[str, bytes]


def validate(form: str, options: Mapping[str, Any], files: Sequence[Path]) -> Validated:
    """Validate the files of a data set of the format `form`. Raises `DatasetInvalid`."""
    notes, chosen = Notes(), OPTIONS[form].model_validate(options)
    cases: AnySet = resolve(READERS[form])(files, chosen, notes)
    soundness.check(cases, notes)
    guards.run(cases, chosen, notes)
    cases = ordered(cases)
    canonical, drawn = dump(cases), pictures(cases)
    item: dict[str, Any] = {
        "format": form,
        "fingerprint": fingerprint(cases),
        "counts": cases.counts(),
        "classes": balance(cases),
        "facts": {**facts(cases), **notes.facts},
        "warnings": notes.warnings,
        "files": sorted(canonical),
    }
    item["card"] = card(item, sorted(drawn))
    return Validated(item, {**canonical, **drawn})
