"""What an inference kind hands to the worker: the Predictor protocol and the values that pass through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jobs.kinds import Params


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model on disk: `folder` holds manifest.json and the weights it names."""

    name: str
    version: int
    kind: str
    folder: Path
    manifest: Mapping[str, Any]

    @property
    def weights_sha256(self) -> str | None:
        """Checksum of the weights, hex; None for a model without weights."""
        weights = self.manifest.get("weights")
        return None if weights is None else str(weights["sha256"])


@dataclass(frozen=True)
class Source:
    """One item's input: a file, the files of a series in slice order, or small JSON."""

    files: tuple[Path, ...] = ()
    data: Any = None


@dataclass(frozen=True)
class NewArtifact:
    """A file that an item or a job made. `name` is unique within the job and safe in a URL.

    `content`: its bytes, or where it is large a file of the attempt's scratch folder, which is never held in memory.
    """

    name: str
    media_type: str
    content: bytes | Path = field(repr=False)
    item: int | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def read(self) -> bytes:
        """All of its bytes."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


@dataclass(frozen=True)
class Encoded:
    """An item's entry in the result, and its files."""

    item: dict[str, Any]
    artifacts: tuple[NewArtifact, ...] = ()


class Predictor(Protocol):
    """A loaded model on one device. `decode` and `encode` run in many threads at once, `predict` in one at a time."""

    max_batch: int
    """Largest number of items that one `predict` takes."""

    def decode(self, source: Source, params: Params) -> Any:
        """Bytes to whatever `predict` takes (parameters included); raises `InputError` for a bad input. No torch."""

    def predict(self, batch: Sequence[Any]) -> Sequence[Any]:
        """One output per decoded item, in order; raises for the whole batch (the batcher then bisects it)."""

    def encode(self, decoded: Any, output: Any, position: int) -> Encoded:
        """The result's entry for the item at `position` (from 0) of the job."""

    def provenance(self) -> dict[str, Any]:
        """What to record beside name and version: device, precision, threads, weights hash, library versions."""
