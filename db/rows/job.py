"""The job's row, with constraints that forbid the impossible."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import LABELS, SECONDS, Row
from db.text import Json, SafeText

_ENDED = "state IN ('succeeded', 'failed', 'cancelled')"
KEEPING = "finished_at IS NOT NULL AND inputs_deleted_at IS NULL AND inputs LIKE '%sha256:%'"
"""Ended, with inputs that name files (jobs/ids.py:DIGEST) which are kept still; a statement says it in the same words,
or its database does not see that the index serves it."""


def _of_some(which: str, name: str, *columns: str) -> Index:
    """An index of the jobs of which that is true."""
    return Index(name, *columns, sqlite_where=text(which), postgresql_where=text(which))


class JobRow(Row):
    """One job. Only db/jobs.py writes `state`, always by an UPDATE that names the state and fence it expects.

    `lease_until` and the progress columns change often and stay off every index (PostgreSQL then rewrites no index).
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(SafeText, primary_key=True)
    caller_id: Mapped[int] = mapped_column(ForeignKey("callers.id"))
    kind: Mapped[str] = mapped_column(SafeText)
    pool: Mapped[str] = mapped_column(SafeText)
    queue: Mapped[str] = mapped_column(SafeText, server_default="any")
    """Which of the pool's queues: what a device must be able to do (jobs/needs.py)."""

    state: Mapped[str] = mapped_column(SafeText)
    priority: Mapped[int] = mapped_column(Integer)
    boost: Mapped[int] = mapped_column(Integer, server_default="0")
    model_name: Mapped[str | None] = mapped_column(SafeText)
    model_version: Mapped[int | None] = mapped_column(Integer)
    inputs: Mapped[Any] = mapped_column(Json)
    params: Mapped[Any] = mapped_column(Json)
    labels: Mapped[Any] = mapped_column(LABELS)
    seed: Mapped[int] = mapped_column(BigInteger)
    timeout_s: Mapped[float] = mapped_column(SECONDS)
    callback_url: Mapped[str | None] = mapped_column(SafeText)
    rerun_of: Mapped[str | None] = mapped_column(SafeText)
    pins: Mapped[Any | None] = mapped_column(Json)
    """What the parameters named when the job was accepted (jobs/references.py)."""

    created_at: Mapped[float] = mapped_column(SECONDS)
    run_at: Mapped[float | None] = mapped_column(SECONDS)
    started_at: Mapped[float | None] = mapped_column(SECONDS)
    finished_at: Mapped[float | None] = mapped_column(SECONDS)
    cancel_requested_at: Mapped[float | None] = mapped_column(SECONDS)
    sent_at: Mapped[float | None] = mapped_column(SECONDS)
    send_count: Mapped[int] = mapped_column(Integer, server_default="0")
    inputs_deleted_at: Mapped[float | None] = mapped_column(SECONDS)

    fence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    worker_id: Mapped[str | None] = mapped_column(SafeText)
    lease_until: Mapped[float | None] = mapped_column(SECONDS)
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    crashes: Mapped[int] = mapped_column(Integer, server_default="0")

    fraction: Mapped[float] = mapped_column(SECONDS, server_default="0")
    stage: Mapped[str | None] = mapped_column(SafeText)
    message: Mapped[str | None] = mapped_column(SafeText)
    error: Mapped[Any | None] = mapped_column(Json)

    __table_args__ = (
        CheckConstraint(f"state IN ('queued', 'running') OR {_ENDED}", "state_known"),
        CheckConstraint("pool IN ('inference', 'long')", "pool_known"),
        CheckConstraint("priority BETWEEN 0 AND 9", "priority_0_to_9"),
        CheckConstraint("boost BETWEEN 0 AND 9", "boost_0_to_9"),
        CheckConstraint("(model_name IS NULL) = (model_version IS NULL)", "model_pinned"),
        CheckConstraint("timeout_s > 0", "timeout_positive"),
        CheckConstraint("fence >= 0", "fence_not_negative"),
        CheckConstraint("attempt <= fence", "attempt_under_fence"),
        CheckConstraint("attempt >= 0 AND failures >= 0 AND crashes >= 0", "counts_not_negative"),
        CheckConstraint("fraction BETWEEN 0 AND 1", "fraction_0_to_1"),
        CheckConstraint("(state = 'running') = (worker_id IS NOT NULL)", "only_running_has_worker"),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", "only_running_has_lease"),
        CheckConstraint("state <> 'running' OR (started_at IS NOT NULL AND attempt > 0)", "running_was_started"),
        CheckConstraint("state <> 'succeeded' OR attempt > 0", "success_was_attempted"),
        CheckConstraint(f"({_ENDED}) = (finished_at IS NOT NULL)", "only_ended_is_finished"),
        CheckConstraint("(state = 'failed') = (error IS NOT NULL)", "only_failed_has_error"),
        Index("ix_jobs_newest", "created_at", "id"),
        Index("ix_jobs_newest_of_caller", "caller_id", "created_at", "id"),
        _of_some("state = 'queued'", "ix_jobs_waiting", "pool", "sent_at"),
        _of_some("state = 'running'", "ix_jobs_held", "worker_id"),
        Index("ix_jobs_finished", "finished_at"),
        Index("ix_jobs_newest_of_state", "state", "created_at", "id"),
        Index("ix_jobs_newest_of_kind", "kind", "created_at", "id"),
        # A caller may have none among the failures of all, and a model few jobs among those of its kind.
        _of_some(
            "state IN ('failed', 'cancelled')",
            "ix_jobs_newest_failed_of_caller",
            "caller_id",
            "state",
            "created_at",
            "id",
        ),
        _of_some("model_name IS NOT NULL", "ix_jobs_newest_of_model", "model_name", "created_at", "id"),
        # Is a data set in use? Few jobs name any.
        _of_some("pins IS NOT NULL", "ix_jobs_pinned", "state"),
        # What the keeper looks through each minute: ended, and files among the inputs that were not given up yet.
        _of_some(KEEPING, "ix_jobs_keeping", "finished_at"),
    )
