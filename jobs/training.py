"""What a training gives back: a model version that is not registered yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NewVersion:
    """A version of the model `name` of the kind `kind`. Its number is given when it is registered.

    `files`: name -> bytes of all that it consists of (weights.safetensors, card.md, cases.npz, ...); `manifest` as
    models.md's Registry lists it, without `version`.
    """

    name: str
    kind: str
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes] = field(repr=False)
