"""What a person sees of a training while it learns: a few pictures of each fit, kept in the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping

PNG = "image/png"
"""Media type of every picture."""

HALVINGS = 5
"""The last picture is drawn at the end, and one after each half of the steps before it: most is learnt early."""


class Pictures:
    """PNG files by name, `<fit>-<step>.png`, in the order in which they were drawn."""

    def __init__(self, kept: Mapping[str, bytes] | None = None) -> None:
        """`kept` as `files` gave it."""
        self._kept = dict(kept or {})

    def add(self, label: str, step: int, content: bytes) -> str:
        """Keep a picture; its name."""
        name = f"{label}-{step:06d}.png"
        self._kept[name] = content
        return name

    def forget_after(self, label: str, step: int) -> None:
        """Drop the pictures of a fit that lie behind the checkpoint from which it goes on."""
        self._kept = {
            name: content
            for name, content in self._kept.items()
            if name.rpartition("-")[0] != label or int(name.rpartition("-")[2].removesuffix(".png")) <= step
        }

    def files(self) -> dict[str, bytes]:
        """Name -> PNG."""
        return dict(self._kept)


def moments(steps: int) -> frozenset[int]:
    """The numbers of steps after which a picture is drawn."""
    return frozenset(math.ceil(steps / 2**half) for half in range(HALVINGS + 1))
