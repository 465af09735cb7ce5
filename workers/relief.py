"""What a batcher does for an item that found no memory though it was alone: other models go, then the CPU takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from jobs.predicting import Predictor


class Relief(Protocol):
    """What the loaded models and the device can do for one of them."""

    def free(self) -> None:
        """Give back memory that nobody uses."""

    def evict(self) -> bool:
        """Let idle models go; whether there were any."""

    def elsewhere(self) -> Predictor | None:
        """The same model on the CPU, where the kind and the settings allow that."""


class OnDevice:
    """The relief of one loaded model."""

    def __init__(
        self, free: Callable[[], None], evict: Callable[[], bool], elsewhere: Callable[[], Predictor] | None
    ) -> None:
        """`elsewhere` loads the model on the CPU, once; None: not allowed."""
        self._free, self._evict, self._elsewhere = free, evict, elsewhere
        self._predictor: Predictor | None = None

    def free(self) -> None:
        """Give back memory that nobody uses."""
        self._free()

    def evict(self) -> bool:
        """Let idle models go; whether there were any."""
        gone = self._evict()
        while gone and self._evict():
            pass
        self._free()
        return gone

    def elsewhere(self) -> Predictor | None:
        """The same model on the CPU; loaded at the first call."""
        if self._predictor is None and self._elsewhere is not None:
            self._predictor = self._elsewhere()
        return self._predictor
