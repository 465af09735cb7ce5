"""Functional groups of enhanced multi-frame objects (PS3.3 C.7.6.16): where an attribute of one frame stands."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from imaging.attributes import items


class FunctionalGroups:
    """Finds the data set that holds a frame's attributes; for a classic object that is the object itself."""

    def __init__(self, dataset: Dataset) -> None:
        """`dataset` is the whole object."""
        self.dataset = dataset
        self.per_frame: Sequence[Dataset] = items(dataset, "PerFrameFunctionalGroupsSequence")
        shared = items(dataset, "SharedFunctionalGroupsSequence")
        self.shared: Dataset | None = shared[0] if shared else None

    @property
    def enhanced(self) -> bool:
        """Whether frames can differ at all."""
        return len(self.per_frame) > 0

    def scope(self, frame: int, macro: str) -> Dataset:
        """The item of the sequence `macro` for `frame` (from 0): its own, else the shared one, else the object."""
        if frame < len(self.per_frame):
            found = items(self.per_frame[frame], macro)
            if found:
                return found[0]
        if self.shared is not None:
            found = items(self.shared, macro)
            if found:
                return found[0]
        return self.dataset
