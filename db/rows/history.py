"""What happened to a job: attempts, events, its one result with artifacts, and the webhooks to send."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import SECONDS, SERIAL, Row
from db.text import Json, SafeText


class AttemptRow(Row):
    """One claim of a job by one worker; `fence` is the one that the claim was given."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger)
    worker_id: Mapped[str] = mapped_column(SafeText)
    started_at: Mapped[float] = mapped_column(SECONDS)
    ended_at: Mapped[float | None] = mapped_column(SECONDS)
    outcome: Mapped[str | None] = mapped_column(SafeText)
    error: Mapped[Any | None] = mapped_column(Json)

    __table_args__ = (
        UniqueConstraint("job_id", "fence"),
        CheckConstraint("number > 0 AND fence >= number", "number_under_fence"),
        CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", "only_ended_has_outcome"),
        CheckConstraint(
            "outcome IN ('succeeded', 'failed', 'cancelled', 'retried', 'drained', 'lease-expired', 'worker-lost')",
            "outcome_known",
        ),
    )


class ResultRow(Row):
    """The one committed result of a job: the primary key allows no second."""

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger)
    result: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (CheckConstraint("fence > 0", "fence_positive"),)


class ArtifactRow(Row):
    """A file that the committed attempt made; its bytes are in the storage under job, fence and name."""

    __tablename__ = "artifacts"

    job_id: Mapped[str] = mapped_column(ForeignKey("results.job_id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(SafeText, primary_key=True)
    media_type: Mapped[str] = mapped_column(SafeText)
    size: Mapped[int] = mapped_column(BigInteger)
    item: Mapped[int | None] = mapped_column(Integer)

    __table_args__ = (CheckConstraint("size >= 0", "size_not_negative"),)


class PreviewRow(Row):
    """A file that a job shows before it has a result; its bytes are in the storage under job, fence and name.

    An attempt that shows the name again takes the row over. The keeper deletes the rows of a job that has ended.
    """

    __tablename__ = "previews"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(SafeText, primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(SafeText)

    __table_args__ = (CheckConstraint("fence > 0", "fence_positive"),)


class EventRow(Row):
    """One line of a job's event stream. Written only under the job's row lock, so that a job's ids rise as committed.

    (Numbers of other jobs may become visible out of order on PostgreSQL; a stream therefore reads by job.)
    """

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(SafeText)
    data: Mapped[Any] = mapped_column(Json)
    at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (
        CheckConstraint("type IN ('state', 'progress', 'metric', 'log', 'artifact')", "type_known"),
        Index("ix_events_of_job", "job_id", "id"),
        # Without AUTOINCREMENT, SQLite hands out the number of a deleted newest row again, and a stream would stall.
        {"sqlite_autoincrement": True},
    )


class OutboxRow(Row):
    """A webhook to deliver, written in the transaction that ended the job."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(SafeText)
    state: Mapped[str] = mapped_column(SafeText)
    created_at: Mapped[float] = mapped_column(SECONDS)
    next_at: Mapped[float | None] = mapped_column(SECONDS)
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    delivered_at: Mapped[float | None] = mapped_column(SECONDS)
    error: Mapped[str | None] = mapped_column(SafeText)

    __table_args__ = (
        UniqueConstraint("job_id"),
        CheckConstraint("state IN ('succeeded', 'failed', 'cancelled')", "state_ended"),
        CheckConstraint("delivered_at IS NULL OR next_at IS NULL", "delivered_is_not_due"),
        Index(
            "ix_outbox_due",
            "next_at",
            sqlite_where=text("next_at IS NOT NULL"),
            postgresql_where=text("next_at IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )
