"""The labels of all jobs, in the order in which a listing shows them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import SECONDS, Row
from db.text import SafeText


class JobLabelRow(Row):
    """One label of one job, copied from `jobs.labels` by triggers (migration 0008): a page of a label lies together in
    the index, however many jobs bear it."""

    __tablename__ = "job_labels"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(SafeText, primary_key=True)
    value: Mapped[str] = mapped_column(SafeText)
    created_at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (
        Index("ix_job_labels_newest", "key", "value", "created_at", "job_id"),
        {"sqlite_with_rowid": False},
    )
