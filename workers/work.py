"""One attempt at a long job, as its runner sees it (jobs.running.Work)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from db import jobs
from db.engine import Database
from db.records import Claim
from jobs.datasets import DataSet
from jobs.errors import StorageUnavailable
from jobs.kinds import Params
from jobs.predicting import ModelVersion, Source
from jobs.running import Checkpoints, Stop
from jobs.settings import Settings
from storage.checkpoints import StoredCheckpoints
from storage.files import Storage
from workers.news import News
from workers.provenance import href

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
    """Checkpoints that also tell the database that earlier crashes and failures are forgiven."""

    def __init__(self, bound: Bound, stored: StoredCheckpoints, work: LongWork) -> None:
        """`stored` keeps the files under this attempt's fence."""
        self._bound = bound
        self._stored = stored
        self._work = work

    def save(self, files: dict[str, bytes], manifest: dict[str, Any], segments: Sequence[Path] = ()) -> None:
        """Store, then reset the counts of crashes and failures; raises `Stop` where the job is no longer ours.

        What was said before is written first: an attempt that goes on from here does not say it again. A database that
        is away costs that, and no checkpoint.
        """
        try:
            self._work.tell()
        finally:
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

    def __init__(self, bound: Bound, params: Params, devices: tuple[str, ...], folder: Path, storage: Storage):
        """`devices` as torch names them in this process."""
        claim = bound.claim
        self._bound, self._storage = bound, storage
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
        stored = storage.checkpoints(claim.id, claim.fence)
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

    def show(self, name: str, media_type: str, content: bytes, step: int) -> None:
        """Store a file under the fence; the event that names it is written within a second, and makes it a preview."""
        claim = self._bound.claim
        try:
            self._storage.put_artifact(claim.id, claim.fence, name, content)
        except StorageUnavailable as error:
            self.news.log(f"{name} could not be stored ({error.code}); it will be among the artifacts of the result")
        else:
            self.news.artifact(name, media_type, href(claim.id, name), step)

    def tell(self) -> None:
        """Write progress, metrics, logs and previews; under an old fence they are refused. Those that the database
        could not take wait, and stand twice in the stream where it was cut off just after it took them."""
        claim = self._bound.claim
        self.news.deliver(partial(jobs.append_events, self._bound.db, claim.id, claim.fence))

    def stop(self, reason: str) -> None:
        """Tell the runner to stop; the first reason stands."""
        if self.stopping is None:
            self.stopping = reason
