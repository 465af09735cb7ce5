"""One attempt at a long job, as its runner sees it (jobs.running.Work)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import jobs
from db.engine import Database
from db.records import Claim
from jobs.datasets import DataSet
from jobs.kinds import Params
from jobs.predicting import ModelVersion, Source
from jobs.running import Checkpoints, Stop
from jobs.settings import Settings
from storage.checkpoints import StoredCheckpoints
from workers.news import News

CANCELLED, DRAINED, LOST, TIMED_OUT = "cancelled", "drained", "lost", "timeout"
"""Why a long job is told to stop."""


@dataclass(frozen=True)
class Bound:
    """What binds an attempt to the database: whose it is, and under which fence."""

    db: Database
    settings: Settings
    claim: Claim
    worker_id: str


class FencedCheckpoints:
    """Checkpoints that also tell the database that earlier crashes are forgiven."""

    def __init__(self, bound: Bound, stored: StoredCheckpoints, work: LongWork) -> None:
        """`stored` keeps the files under this attempt's fence."""
        self._bound = bound
        self._stored = stored
        self._work = work

    def save(self, files: dict[str, bytes], manifest: dict[str, Any], segments: Sequence[Path] = ()) -> None:
        """Store, then reset the crash count; raises `Stop` where the job is no longer ours."""
        self._stored.save(files, manifest, segments)
        claim = self._bound.claim
        if not jobs.checkpointed(self._bound.db, claim.id, claim.fence):
            self._work.stop(LOST)
            raise Stop

    def newest(self) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """The newest checkpoint whose checksums hold, of this or an earlier attempt."""
        return self._stored.newest()

    def segments(self, folder: Path) -> list[Path]:
        """Copies of that checkpoint's segments."""
        return self._stored.segments(folder)


class LongWork:
    """The running attempt. Its methods cost microseconds; the watch thread writes what they left.

    It is made before its inputs are fetched, so that its lease is renewed meanwhile; workers/longtask.py fills them in.
    """

    def __init__(self, bound: Bound, params: Params, devices: tuple[str, ...], folder: Path, stored: StoredCheckpoints):
        """`devices` as torch names them in this process."""
        claim = bound.claim
        self.job_id = claim.id
        self.kind = claim.kind
        self.params = params
        self.sources: tuple[Source, ...] = ()
        self.model: ModelVersion | None = None
        self.seed = claim.seed
        self.datasets: Mapping[str, DataSet] = {}
        self.versions: Mapping[str, ModelVersion] = {}
        self.original: Mapping[str, Any] | None = None
        self.device = devices[0]
        self.devices = devices
        self.folder = folder
        self.checkpoints: Checkpoints = FencedCheckpoints(bound, stored, self)
        self.news = News()
        self.stopping: str | None = None
        """Why the job is to stop, once it is."""

        self.stepped_at = time.monotonic()

    def step(self) -> None:
        """Raises `Stop` when the job is to stop."""
        self.stepped_at = time.monotonic()
        if self.stopping is not None:
            raise Stop(self.stopping, resumes=self.stopping == DRAINED)

    def progress(self, fraction: float, stage: str, message: str = "") -> None:
        """How far the job is; written within a second."""
        self.stepped_at = time.monotonic()
        self.news.progress(fraction, stage, message)

    def metric(self, name: str, value: float, step: int) -> None:
        """One point of a curve. After a crash the steps since the last checkpoint come again."""
        self.news.metric(name, value, step)

    def log(self, message: str) -> None:
        """One line for the job's stream."""
        self.news.log(message)

    def stop(self, reason: str) -> None:
        """Tell the runner to stop; the first reason stands."""
        if self.stopping is None:
            self.stopping = reason
