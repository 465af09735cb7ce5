"""Images with their classes, which is all that the measures of drawn and of real ones need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """One part of a data set, or what was drawn: `images` (N, H, W) uint8 and `labels` (N,) class indices."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Part:
        """Return the rows of `index` (positions or a mask) as a part of their own."""
        return Part(self.images[index], self.labels[index])
