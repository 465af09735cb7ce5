"""Indexes for listings and sweeps that are to take no longer when the table of jobs has grown to millions."""

import sqlalchemy as sa

from db.migrations.indexes import build

revision = "0006"
down_revision = "0005"

KEEPING = "finished_at IS NOT NULL AND inputs_deleted_at IS NULL AND inputs LIKE '%sha256:%'"


def upgrade() -> None:
    build("ix_jobs_newest_of_state", "jobs", ["state", "created_at", "id"])
    build("ix_jobs_newest_of_kind", "jobs", ["kind", "created_at", "id"])
    build(
        "ix_jobs_labels",
        "jobs",
        ["labels"],
        postgresql_using="gin",
        postgresql_ops={"labels": "jsonb_path_ops"},
        postgresql_with={"fastupdate": "off"},
        sqlite_where=sa.text("labels IS NULL"),
    )
    build(
        "ix_jobs_keeping",
        "jobs",
        ["finished_at"],
        sqlite_where=sa.text(KEEPING),
        postgresql_where=sa.text(KEEPING),
    )
