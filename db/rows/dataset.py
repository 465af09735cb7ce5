"""Data sets: a caller's name for the job that reads one."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import SECONDS, Row
from db.text import SafeText


class DataSetRow(Row):
    """A caller's data set. Its state and facts are those of its job, which the foreign key refuses to let go.

    `content` is a hash over format, options and files: the same again is the same data set.
    """

    __tablename__ = "datasets"

    caller_id: Mapped[int] = mapped_column(ForeignKey("callers.id"), primary_key=True)
    name: Mapped[str] = mapped_column(SafeText, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    content: Mapped[str] = mapped_column(SafeText)
    created_at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (
        CheckConstraint("name <> ''", "name_not_empty"),
        CheckConstraint("length(content) = 64", "content_is_sha256"),
        Index("ix_datasets_job_id", "job_id"),
    )
