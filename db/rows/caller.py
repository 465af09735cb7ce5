"""Who calls: callers, their tokens, their idempotency keys, and the audit trail."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import SECONDS, SERIAL, Row
from db.text import Json, SafeText


class CallerRow(Row):
    """A named principal; jobs, files and keys belong to it. `webhook_secret` signs its webhooks (base64)."""

    __tablename__ = "callers"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(SafeText)
    webhook_secret: Mapped[str] = mapped_column(SafeText)
    created_at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (UniqueConstraint("name"), CheckConstraint("name <> ''", "name_not_empty"))


class TokenRow(Row):
    """A bearer token: only its SHA-256 is kept (32 random bytes need no slow hash)."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    caller_id: Mapped[int] = mapped_column(ForeignKey("callers.id"))
    hash: Mapped[str] = mapped_column(SafeText)
    scopes: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[float] = mapped_column(SECONDS)
    expires_at: Mapped[float | None] = mapped_column(SECONDS)
    revoked_at: Mapped[float | None] = mapped_column(SECONDS)

    __table_args__ = (UniqueConstraint("hash"), CheckConstraint("length(hash) = 64", "hash_is_sha256"))


class IdempotencyRow(Row):
    """A caller's Idempotency-Key. No foreign key to the job: the key outlives a deleted job."""

    __tablename__ = "idempotency"

    caller_id: Mapped[int] = mapped_column(ForeignKey("callers.id"), primary_key=True)
    key: Mapped[str] = mapped_column(SafeText, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(SafeText)
    job_id: Mapped[str] = mapped_column(SafeText)
    created_at: Mapped[float] = mapped_column(SECONDS)


class AuditRow(Row):
    """One act of one caller. No foreign key to the object: the trail outlives what it tells of."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    caller_id: Mapped[int | None] = mapped_column(ForeignKey("callers.id"))
    action: Mapped[str] = mapped_column(SafeText)
    object: Mapped[str | None] = mapped_column(SafeText)
    at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (Index("ix_audit_object", "object"), {"sqlite_autoincrement": True})
