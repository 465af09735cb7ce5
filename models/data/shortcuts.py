"""What tells an image's class without looking at the patient: site, scanner, size, the border of the picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.data.canonical import ImageSet
from models.data.predictive import Values, alone, alone_by_code
from models.data.problems import Notes

TELLING = 0.8
"""AUC from which a trait of the picture alone is a shortcut that a network will take."""

MOST_CASES = 50_000


def find(cases: ImageSet, notes: Notes) -> None:
    """Warn of subgroup columns, traits of the files (`notes.traits`) and borders that alone tell a class."""
    scored = [
        *((f"group {name}", _by_code(codes, cases.labels)) for name, codes in cases.groups.items()),
        *(
            (name, _by_code(np.unique(values, return_inverse=True)[1], cases.labels))
            for name, values in notes.traits.items()
        ),
        *((name, _by_value(values, cases.labels)) for name, values in borders(cases.images)),
    ]
    telling = sorted((pair for pair in scored if pair[1] > TELLING), key=lambda pair: -pair[1])
    notes.facts["shortcuts"] = {name: round(score, 3) for name, score in scored}
    if telling:
        words = ", ".join(f"{name} ({score:.3f})" for name, score in telling[:20])
        detail = f"Traits that have nothing to do with the patient tell a class alone (AUC above {TELLING}): {words}."
        notes.warn("shortcut", detail, len(telling))


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


def _by_code(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    return max(alone_by_code(codes[:MOST_CASES], labels[:MOST_CASES] == one) for one in np.unique(labels))


def _by_value(values: Values, labels: NDArray[np.int64]) -> float:
    return max(alone(values[:MOST_CASES], labels[:MOST_CASES] == one) for one in np.unique(labels))
