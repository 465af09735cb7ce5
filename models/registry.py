"""The kinds that this installation knows: ours, one line each, and those of other installed packages."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from jobs.kinds import Kind
from models.data.kind import KIND as DATASET
from models.diagnosis.kind import KIND as DIAGNOSIS
from models.prediction.kind import KIND as PREDICTION
from models.screening.kind import KIND as SCREENING
from models.synthesis.kind import KIND as SYNTHESIS
from models.training.kind import KIND as TRAINING

log = logging.getLogger("medjobs.models")

KINDS = (DIAGNOSIS, PREDICTION, SCREENING, SYNTHESIS, DATASET, TRAINING)

ENTRY_POINTS = "medjobs.kinds"
"""Entry-point group in which another package declares a `jobs.kinds.Kind`."""


@cache
def kinds() -> dict[str, Kind]:
    """Kind name -> kind. A package's kind may not take the name of another; raises ValueError if one does.

    A package that cannot be loaded, or whose entry point is no kind, is left out with a warning: the others still work.
    """
    known = {kind.name: kind for kind in KINDS}
    for entry in entry_points(group=ENTRY_POINTS):
        kind = _loaded(entry)
        if kind is None:
            continue
        if kind.name in known:
            raise ValueError(f"the kind {kind.name!r} of {entry.value} is already defined; rename or uninstall it")
        known[kind.name] = kind
    return known


def _loaded(entry: EntryPoint) -> Kind | None:
    package = entry.dist.name if entry.dist is not None else entry.module
    try:
        kind = entry.load()
    except Exception as error:
        log.warning("the kind %s is left out: package %s cannot be loaded (%s)", entry.name, package, error)
        return None
    if isinstance(kind, Kind):
        return kind
    log.warning("the kind %s is left out: %s of package %s is no jobs.kinds.Kind", entry.name, entry.value, package)
    return None
