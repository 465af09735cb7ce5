"""What the API answers, as pydantic models: the OpenAPI document is made from them, and tests hold answers to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.submission import LabelName, LabelValue, Moment
from jobs.results import ModelRef
from jobs.states import State


class Answer(BaseModel):
    """Base of every answer; a member that is not declared is a defect."""

    model_config = ConfigDict(extra="forbid")


class JobPath(BaseModel):
    """A job's id in the path."""

    job_id: UUID


class WorkerPath(BaseModel):
    """A worker's id in the path."""

    worker_id: str = Field(description="As `GET /v1/workers` shows it.")


class FilePath(BaseModel):
    """A file's id in the path."""

    file_id: str = Field(description='"sha256:" and 64 hex digits.')


class ArtifactPath(BaseModel):
    """An artifact of a job."""

    job_id: UUID
    name: str


class WaitQuery(BaseModel):
    """How long to hold the answer."""

    model_config = ConfigDict(extra="forbid")
    wait: float = Field(
        default=0.0, ge=0, le=3600, allow_inf_nan=False, description="Seconds to hold the answer until the job ends."
    )


class ListQuery(BaseModel):
    """Filters of the list of jobs."""

    model_config = ConfigDict(extra="forbid")
    state: list[State] = Field(default=[], description="Any of these states; repeat the parameter.")
    kind: str | None = Field(default=None, max_length=100)
    model: str | None = Field(default=None, max_length=200, description="`name` or `name@version`.")
    labels: dict[LabelName, LabelValue] = Field(
        default={}, max_length=8, description="`label.NAME=VALUE`: jobs with this label; up to eight names."
    )
    created_after: Moment | None = Field(default=None, description="RFC 3339 time.")
    cursor: str | None = Field(default=None, max_length=500, description="`next` of the page before.")
    limit: int = Field(default=50, ge=1, le=500)


class FileBody(Answer):
    """An uploaded file."""

    id: str
    size: int = Field(description="Bytes.")
    media_type: str


class Progress(Answer):
    """How far a job is."""

    fraction: float = Field(ge=0, le=1)
    stage: str | None
    message: str | None


class AttemptBody(Answer):
    """One worker's try."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error: dict[str, Any] | None


class ErrorBody(BaseModel):
    """Why a job or an item failed; the codes are listed in docs/errors.md."""

    code: str
    title: str
    detail: str
    retryable: bool
    item: int | None


class Links(Answer):
    """Rooted paths."""

    self: str
    result: str
    events: str
    cancel: str
    report: str


class JobBody(Answer):
    """A job."""

    id: UUID
    kind: str
    state: State
    priority: int
    queue: str = Field(description="Where it waits; GET /v1/workers shows which workers serve it.")
    model: ModelRef | None
    progress: Progress
    submitted_by: str
    created_at: datetime
    run_after: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    attempts: list[AttemptBody]
    error: ErrorBody | None
    labels: dict[str, str]
    seed: int
    timeout_s: float
    rerun_of: UUID | None
    links: Links


class JobList(Answer):
    """A page of jobs, newest first."""

    jobs: list[JobBody]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class BatchBody(Answer):
    """The jobs of a batch, in order."""

    jobs: list[JobBody]


class ProblemError(Answer):
    """One bad field."""

    pointer: str = Field(description="JSON pointer as a URI fragment (RFC 6901); #/query/... and #/headers/... too.")
    detail: str


class ProblemBody(BaseModel):
    """RFC 9457 problem; `code` is from a closed list, see /docs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemError] = []


class EntryBody(Answer):
    """What became of one entry of a batch that is not atomic."""

    status: int
    job: JobBody | None = None
    problem: ProblemBody | None = None


class EntriesBody(Answer):
    """What became of each entry, in order."""

    jobs: list[EntryBody]


class WorkerExit(Answer):
    """How a worker process ended."""

    reason: str
    at: datetime


class WorkerBody(Answer):
    """A live worker process."""

    id: str
    host: str
    pid: int
    pool: str
    device: str
    state: str
    memory: dict[str, Any] | None
    started_at: datetime
    heartbeat_at: datetime
    running: int = Field(description="Jobs that it holds.")
    restarts: int = Field(description="How often its supervisor has had to start its place again.")
    last_exit: WorkerExit | None = Field(description="How the process before it ended, where its supervisor saw that.")
    queues: list[str] = Field(description="The queues that it takes jobs from.")
    jobs: list[UUID] = Field(description="Those of them that the caller may see.")


class WorkerList(Answer):
    """Every live worker."""

    workers: list[WorkerBody]


class Health(Answer):
    """The process answers."""

    status: Literal["ok"]


class Dependency(Answer):
    """One thing that the API needs."""

    ok: bool
    detail: str | None = None


class Readiness(Answer):
    """Whether jobs can be taken; `degraded`: they can, but wait until Redis is back."""

    status: Literal["ready", "degraded", "unready"]
    dependencies: dict[str, Dependency]
