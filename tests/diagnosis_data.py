"""A set of images whose two classes anyone could tell apart, and a recipe that learns them in a second."""

from __future__ import annotations

import numpy as np

from models.data.canonical import ImageSet
from models.diagnosis.recipes import DiagnosisRecipe, Simple

SMALL: DiagnosisRecipe = Simple(epochs=4, batch=16, seeds=2, baseline_epochs=1)


def bright_or_dark(train: int = 96, validation: int = 48, test: int = 40, side: int = 28) -> ImageSet:
    """Half of the images have a bright square in the middle: the class "bright". One group, Site, tells nothing."""
    count = train + validation + test
    random = np.random.default_rng(0)
    images = random.integers(0, 90, (count, side, side), dtype=np.uint8)
    labels = np.arange(count) % 2
    middle = slice(side // 3, 2 * side // 3)
    images[labels == 1, middle, middle] += 120
    return ImageSet(
        images=images,
        labels=labels.astype(np.int64),
        split=np.repeat(np.arange(3, dtype=np.uint8), (train, validation, test)),
        key=np.arange(count, dtype=np.uint64),
        patient=np.arange(count, dtype=np.int64),
        classes=("dark", "bright"),
        positive="bright",
        groups={"Site": (np.arange(count) // 2 % 2).astype(np.int64)},
        group_names={"Site": ("north", "south")},
    )
