"""What tells the outcome without looking at the patient: site, scanner, size, the border of the picture."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.data.canonical import ImageSet, SequenceSet
from models.data.predictive import Values, alone, alone_by_code
from models.data.problems import Notes
from models.data.soundness import outcomes

TELLING = 0.8
"""AUC from which a trait of the surroundings alone is a shortcut that a network will take. Half of the cases are scored
by the rates of the other half, so that chance, however many sites there are, stays near .5."""

MOST_CASES = 50_000

PLACES = re.compile(
    r"(site|hospital|clinic|cent(re|er)|ward|unit|icu_?type|scanner|device|machine|vendor|manufacturer|provider)"
    r"(_?(id|code|number|no|name|type))?",
    re.IGNORECASE,
)
"""Names of columns that say where or by what a patient was measured."""


def find(cases: ImageSet | SequenceSet, notes: Notes) -> None:
    """Warn of what alone tells a class: subgroup columns; of images also traits of the files (`notes.traits`) and
    borders, of sequences also inputs that are named as places are. A survival outcome is whether the event was seen."""
    (labels,) = outcomes(cases).values()
    scored = [(f"group {name}", _by_code(codes, labels)) for name, codes in cases.groups.items()]
    if isinstance(cases, ImageSet):
        coded = [(name, np.unique(values, return_inverse=True)[1]) for name, values in notes.traits.items()]
        scored += [(name, _by_code(codes, labels)) for name, codes in coded]
        scored += [(name, _by_value(values, labels)) for name, values in borders(cases.images)]
    else:
        scored += [(name, _by_code(codes, labels)) for name, codes in _places(cases)]
    telling = sorted((pair for pair in scored if pair[1] > TELLING), key=lambda pair: -pair[1])
    notes.facts["shortcuts"] = {name: round(score, 3) for name, score in scored}
    if telling:
        words = ", ".join(f"{name} ({score:.3f})" for name, score in telling[:20])
        detail = f"Traits that have nothing to do with the patient tell a class alone (AUC above {TELLING}): {words}."
        notes.warn("shortcut", detail, len(telling))


def _places(cases: SequenceSet) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Static columns with the name of a place, and a code (N,) for each value; one for the missing."""
    for name, column in zip(cases.statics, cases.static.T, strict=True):
        if PLACES.fullmatch(re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")):
            yield name, np.unique(column, return_inverse=True)[1]


def borders(images: NDArray[np.uint8]) -> Iterator[tuple[str, Values]]:
    """Statistics (N,) of the outermost ring of pixels, a fourteenth of the shorter side wide."""
    width = max(1, min(images.shape[1:]) // 14)
    ring = np.ones(images.shape[1:], dtype=bool)
    ring[width:-width, width:-width] = False
    edge = images[:, ring]
    yield "border brightness", edge.mean(axis=1, dtype=np.float64)
    yield "border contrast", edge.std(axis=1, dtype=np.float64)
    yield "black in the border", (edge == 0).mean(axis=1, dtype=np.float64)
    yield "white in the border", (edge == 255).mean(axis=1, dtype=np.float64)


def _by_code(codes: NDArray[np.int64], labels: Values) -> float:
    return max(alone_by_code(codes[:MOST_CASES], labels[:MOST_CASES] == one) for one in np.unique(labels))


def _by_value(values: Values, labels: Values) -> float:
    return max(alone(values[:MOST_CASES], labels[:MOST_CASES] == one) for one in np.unique(labels))
