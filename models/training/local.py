"""A training without a job, for benchmarks and tests: checkpoints in memory, progress kept in a list."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.datasets import DataSet
from jobs.kinds import Params
from jobs.predicting import ModelVersion, Source


class MemoryCheckpoints:
    """The newest checkpoint, kept by reference."""

    def __init__(self) -> None:
        self.kept: list[tuple[dict[str, bytes], dict[str, Any]]] = []
        self.grown: dict[str, bytes] = {}

    def save(self, files: dict[str, bytes], manifest: dict[str, Any], segments: Sequence[Path] = ()) -> None:
        """Keep it, and forget the one before."""
        self.kept = [(dict(files), manifest)]
        self.grown = {path.name: self.grown.get(path.name) or path.read_bytes() for path in segments}

    def newest(self) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """The last one saved."""
        return self.kept[-1] if self.kept else None

    def segments(self, folder: Path) -> list[Path]:
        """Written to `folder`."""
        for name, content in self.grown.items():
            (folder / name).write_bytes(content)
        return [folder / name for name in self.grown]


class LocalWork:
    """A jobs.running.Work that belongs to no job."""

    def __init__(self, seed: int = 0, device: str = "cpu", folder: Path | None = None) -> None:
        """`folder` is the scratch folder; the system's by default."""
        self.job_id = "local"
        self.kind = "training"
        self.params: Params = Params()
        self.sources: tuple[Source, ...] = ()
        self.model: ModelVersion | None = None
        self.seed = seed
        self.datasets: Mapping[str, DataSet] = {}
        self.versions: Mapping[str, ModelVersion] = {}
        self.original: Mapping[str, Any] | None = None
        self.device = device
        self.devices: tuple[str, ...] = (device,)
        self.folder = folder or Path(tempfile.gettempdir())
        self.checkpoints: Any = MemoryCheckpoints()
        self.said: list[tuple[float, str, str]] = []
        self.metrics: list[tuple[str, float, int]] = []
        self.logs: list[str] = []
        self.shown: dict[str, bytes] = {}

    def step(self) -> None:
        """Nobody cancels it."""

    def progress(self, fraction: float, stage: str, message: str = "") -> None:
        """Kept in `said`."""
        self.said.append((fraction, stage, message))

    def metric(self, name: str, value: float, step: int) -> None:
        """Kept in `metrics`."""
        self.metrics.append((name, value, step))

    def log(self, message: str) -> None:
        """Kept in `logs`."""
        self.logs.append(message)

    def show(self, name: str, media_type: str, content: bytes, step: int) -> None:
        """Kept in `shown`."""
        self.shown[name] = content
