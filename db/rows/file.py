"""Uploaded bytes, who uploaded them, and which jobs read them."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import SECONDS, Row
from db.text import SafeText


class BlobRow(Row):
    """Bytes in the storage, by content hash. `idle_since` is when it last lost or gained an owner."""

    __tablename__ = "blobs"

    digest: Mapped[str] = mapped_column(SafeText, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(SECONDS)
    idle_since: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (
        CheckConstraint("size >= 0", "size_not_negative"),
        CheckConstraint("digest LIKE 'sha256:%' AND length(digest) = 71", "digest_is_sha256"),
        Index("ix_blobs_idle_since", "idle_since"),
    )


class HoldingRow(Row):
    """A caller uploaded these bytes and so may see and use them."""

    __tablename__ = "holdings"

    caller_id: Mapped[int] = mapped_column(ForeignKey("callers.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("blobs.digest"), primary_key=True)
    media_type: Mapped[str] = mapped_column(SafeText)
    created_at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (Index("ix_holdings_digest", "digest"),)


class JobFileRow(Row):
    """A job reads these bytes: they stay until its inputs are due. The foreign key refuses to let them go before."""

    __tablename__ = "job_files"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("blobs.digest"), primary_key=True)

    __table_args__ = (Index("ix_job_files_digest", "digest"),)
