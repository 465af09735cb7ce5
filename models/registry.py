"""The kinds that this installation knows: ours, one line each, and those of other installed packages."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from jobs.kinds import Kind
from models.data.kind import KIND as DATASET
from models.diagnosis.kind import KIND as DIAGNOSIS
from models.prediction.kind import KIND as PREDICTION
from models.synthesis.kind import KIND as SYNTHESIS
from models.training.kind import KIND as TRAINING

KINDS = (DIAGNOSIS, PREDICTION, SYNTHESIS, DATASET, TRAINING)

ENTRY_POINTS = "medjobs.kinds"
"""Entry-point group in which another package declares a `jobs.kinds.Kind`."""


@cache
def kinds() -> dict[str, Kind]:
    """Kind name -> kind. A package's kind may not take the name of another; raises ValueError if one does."""
    known = {kind.name: kind for kind in KINDS}
    for entry in entry_points(group=ENTRY_POINTS):
        kind = entry.load()
        if kind.name in known:
            raise ValueError(f"the kind {kind.name!r} of {entry.value} is already defined; rename or uninstall it")
        known[kind.name] = kind
    return known
