"""The values that go into and come out of the job statements. Times are seconds since 1970 (UTC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobs.states import Outcome, State


@dataclass(frozen=True)
class NewJob:
    """A validated submission. `id` is made by the API (jobs.ids.new_id), so that a retried insert is recognised."""

    id: str
    caller_id: int
    kind: str
    pool: str
    queue: str = "any"
    model_name: str | None = None
    model_version: int | None = None
    inputs: list[Any] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    """Every file that the inputs name; the caller must hold each."""

    params: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    priority: int = 5
    seed: int = 0
    run_at: float | None = None
    timeout_s: float = 300.0
    callback_url: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    """Hash over the validated fields and file hashes; required with a key."""

    rerun_of: str | None = None
    pins: dict[str, Any] | None = None
    """What the parameters name, resolved when the job was accepted (jobs/references.py)."""

    action: str = "submit"
    """What the audit row says."""


class Inserted(NamedTuple):
    """Where a submission ended up: its own new job, or the one that its idempotency key already stood for."""

    id: str
    created: bool


class Claim(NamedTuple):
    """A job that now runs here, under `fence`."""

    id: str
    caller_id: int
    kind: str
    model_name: str | None
    model_version: int | None
    inputs: list[Any]
    params: dict[str, Any]
    seed: int
    timeout_s: float
    fence: int
    attempt: int
    crashes: int
    created_at: float
    pins: dict[str, Any] | None = None
    rerun_of: str | None = None
    failures: int = 0


class Renewed(NamedTuple):
    """What one renewal found: jobs that are no longer ours, and jobs of ours that are to be cancelled."""

    lost: set[str]
    cancelled: set[str]


class StoredArtifact(NamedTuple):
    """A file that lies in the storage under the attempt's fence. `size` in bytes."""

    name: str
    media_type: str
    size: int
    item: int | None = None


class VersionFile(NamedTuple):
    """A file of a model version: its name there, and the blob that holds its bytes."""

    path: str
    digest: str
    size: int


class NewVersionRow(NamedTuple):
    """A version whose number the completing job has reserved (db.models.reserve) and which is now ready."""

    name: str
    number: int
    content: str
    manifest: dict[str, Any]
    files: Sequence[VersionFile]


class Completion(NamedTuple):
    """How an attempt ended: a final state, with the result (succeeded) or the error (failed)."""

    id: str
    fence: int
    state: State
    result: dict[str, Any] | None = None
    artifacts: Sequence[StoredArtifact] = ()
    error: dict[str, Any] | None = None
    version: NewVersionRow | None = None
    """Registered in the same transaction, where the completion is accepted."""


class Release(NamedTuple):
    """A running job handed back. `charge` counts it against the job's attempts; `delay_s` keeps it from being taken."""

    id: str
    fence: int
    outcome: Outcome
    delay_s: float = 0.0
    error: dict[str, Any] | None = None
    charge: bool = True
    queue: str | None = None
    """Where it waits from now on; None: where it did."""


class CancelResult(NamedTuple):
    """What a cancel request met. `accepted` is False where the job had ended otherwise."""

    accepted: bool
    state: State


class Expired(NamedTuple):
    """A job taken from a worker that no longer held it, and the state it was put in."""

    id: str
    worker_id: str
    outcome: Outcome
    state: State


class AttemptView(NamedTuple):
    """One attempt as callers see it."""

    number: int
    worker: str
    fence: int
    started_at: float
    ended_at: float | None
    outcome: str | None
    error: dict[str, Any] | None


@dataclass(frozen=True)
class JobView:
    """A job as it stands, with its attempts in order."""

    id: str
    caller_id: int
    submitted_by: str
    kind: str
    pool: str
    queue: str
    state: State
    priority: int
    model_name: str | None
    model_version: int | None
    inputs: list[Any]
    params: dict[str, Any]
    labels: dict[str, str]
    seed: int
    timeout_s: float
    callback_url: str | None
    rerun_of: str | None
    pins: dict[str, Any] | None
    created_at: float
    run_at: float | None
    started_at: float | None
    finished_at: float | None
    cancel_requested_at: float | None
    inputs_deleted_at: float | None
    fence: int
    attempt: int
    failures: int
    crashes: int
    fraction: float
    stage: str | None
    message: str | None
    error: dict[str, Any] | None
    attempts: tuple[AttemptView, ...] = ()


class StoredResult(NamedTuple):
    """The committed result, and the fence under which its artifacts lie."""

    result: dict[str, Any]
    fence: int
    artifacts: tuple[StoredArtifact, ...]


class Preview(NamedTuple):
    """A file that a job shows before it has a result, and the fence under which it lies."""

    name: str
    fence: int
    media_type: str


class Event(NamedTuple):
    """One line of a job's stream; `id` rises within a job."""

    id: int
    type: str
    data: dict[str, Any]
    at: float
