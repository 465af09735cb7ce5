"""What a long kind (training, large synthesis) is handed by its worker, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jobs.datasets import DataSet
from jobs.kinds import Params
from jobs.predicting import ModelVersion, NewArtifact, Source
from jobs.training import NewVersion


class Stop(Exception):
    """Raised by `Work.step` when the job is to stop now.

    `resumes`: it will go on elsewhere (the worker drains), so what is done is worth a checkpoint; otherwise it was
    cancelled, timed out or taken over, and is to end at once.
    """

    def __init__(self, reason: str = "", resumes: bool = True) -> None:
        """`reason` is one of workers.work's words."""
        super().__init__(*[reason] if reason else [])
        self.resumes = resumes


class Checkpoints(Protocol):
    """Checkpoints of one job: written under this attempt's fence, read from the newest valid one of any attempt."""

    def save(self, files: dict[str, bytes], manifest: dict[str, Any], segments: Sequence[Path] = ()) -> None:
        """Store the files, then the manifest with their checksums; resets the job's crash count.

        `segments`: all files of a work that grows, in order, each with a name of its own and never changed again. Those
        that the checkpoint before has, or the one that was gone on from, are not written anew.
        Raises `StorageUnavailable` or `DatabaseUnavailable` where it could not; whether the work can go on without is
        the caller's to know.
        """

    def newest(self) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """The newest checkpoint whose checksums hold, those of its segments too, or None."""

    def segments(self, folder: Path) -> list[Path]:
        """Go on from what `newest` gave: copies of its segments in `folder`, in order; the next `save` adds to them."""


class Work(Protocol):
    """One attempt at a long job, seen from the code that does it."""

    job_id: str
    kind: str
    params: Params
    sources: tuple[Source, ...]
    model: ModelVersion | None
    seed: int
    datasets: Mapping[str, DataSet]
    """By the name of the parameter that names it (jobs.references), as pinned when the job was accepted."""

    versions: Mapping[str, ModelVersion]
    """Model versions that parameters name, likewise."""

    original: Mapping[str, Any] | None
    """Provenance of the job that this one runs again; None where it is a first run, or that one has no result."""

    device: str
    devices: tuple[str, ...]
    """Every device of this worker as torch names it; the first is `device`."""

    folder: Path
    """Scratch folder of this attempt; deleted afterwards."""

    checkpoints: Checkpoints

    def step(self) -> None:
        """Call between steps: raises `Stop` when the job was cancelled or the worker drains. Costs microseconds."""

    def progress(self, fraction: float, stage: str, message: str = "") -> None:
        """Report how far the job is, 0 to 1; also proves to the lease that it is alive. Rate-limited by the worker."""

    def metric(self, name: str, value: float, step: int) -> None:
        """Append a `metric` event."""

    def log(self, message: str) -> None:
        """Append a `log` event; no patient data."""

    def show(self, name: str, media_type: str, content: bytes, step: int) -> None:
        """Append an `artifact` event: a file that a person may look at while the job runs, under a name that is shown
        once by each attempt. What is shown is to be among the artifacts of `Finished` too. A storage that is away is
        no error."""


@dataclass(frozen=True)
class Finished:
    """The outcome of a long job."""

    items: list[dict[str, Any]]
    artifacts: tuple[NewArtifact, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    version: NewVersion | None = None
    """Registered in the transaction that completes the job. Its number then stands in each item as
    `"version": {"name", "version"}`."""

    warnings: tuple[str, ...] = ()
    """What stands under `warnings` in the result."""
