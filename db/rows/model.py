"""The model registry: names, versions with their files, aliases and how they moved."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import SECONDS, SERIAL, Row
from db.text import Json, SafeText


class ModelRow(Row):
    """A model's name. It belongs to the caller who first registered a version; shipped ones belong to nobody (null).

    `gate` is what a version has to show before `production` moves to it.
    """

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(SafeText, primary_key=True)
    kind: Mapped[str] = mapped_column(SafeText)
    caller_id: Mapped[int | None] = mapped_column(ForeignKey("callers.id"))
    gate: Mapped[Any | None] = mapped_column(Json)
    created_at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (CheckConstraint("name <> ''", "name_not_empty"), Index("ix_models_kind", "kind"))


class ModelVersionRow(Row):
    """A version. `reserved`: a job holds the number and may yet fail; `ready`: it never changes again.

    `content` is a hash over its files: the same files again are the version that is there. No foreign key to the job:
    its number stays reserved when it is deleted.
    """

    __tablename__ = "model_versions"

    name: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    state: Mapped[str] = mapped_column(SafeText)
    job_id: Mapped[str | None] = mapped_column(SafeText)
    content: Mapped[str] = mapped_column(SafeText)
    manifest: Mapped[Any | None] = mapped_column(Json)
    shipped: Mapped[bool] = mapped_column(server_default=text("false"))
    caller_id: Mapped[int | None] = mapped_column(ForeignKey("callers.id"))
    created_at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (
        CheckConstraint("number > 0", "number_from_1"),
        CheckConstraint("state IN ('reserved', 'ready')", "state_known"),
        CheckConstraint("(state = 'ready') = (manifest IS NOT NULL)", "only_ready_has_manifest"),
        CheckConstraint("state = 'ready' OR job_id IS NOT NULL", "reserved_by_a_job"),
        CheckConstraint("length(content) = 64", "content_is_sha256"),
        Index("uq_model_versions_job_id", "job_id", unique=True),
        Index("ix_model_versions_content", "name", "content"),
    )


class VersionFileRow(Row):
    """A file of a version; the foreign key keeps its bytes."""

    __tablename__ = "version_files"

    name: Mapped[str] = mapped_column(SafeText, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    path: Mapped[str] = mapped_column(SafeText, primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("blobs.digest"))
    size: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        ForeignKeyConstraint(["name", "number"], ["model_versions.name", "model_versions.number"]),
        CheckConstraint("size >= 0", "size_not_negative"),
        Index("ix_version_files_digest", "digest"),
    )


class AliasRow(Row):
    """A name for a version that may move, such as `production`."""

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(SafeText, primary_key=True)
    alias: Mapped[str] = mapped_column(SafeText, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)

    __table_args__ = (
        ForeignKeyConstraint(["name", "number"], ["model_versions.name", "model_versions.number"]),
        CheckConstraint("alias <> ''", "alias_not_empty"),
    )


class AliasMoveRow(Row):
    """One move of an alias: from which version to which, by whom, why, and what the gate found."""

    __tablename__ = "alias_moves"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(ForeignKey("models.name"))
    alias: Mapped[str] = mapped_column(SafeText)
    before: Mapped[int | None] = mapped_column(Integer)
    after: Mapped[int] = mapped_column(Integer)
    caller_id: Mapped[int | None] = mapped_column(ForeignKey("callers.id"))
    at: Mapped[float] = mapped_column(SECONDS)
    reason: Mapped[str | None] = mapped_column(SafeText)
    gate: Mapped[Any | None] = mapped_column(Json)

    __table_args__ = (Index("ix_alias_moves_name", "name", "alias", "id"), {"sqlite_autoincrement": True})
