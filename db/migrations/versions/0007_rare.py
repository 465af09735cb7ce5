"""Indexes for what is rare among millions of jobs: a caller's failures, and the jobs of one model."""

import sqlalchemy as sa

from db.migrations.indexes import build

revision = "0007"
down_revision = "0006"

FAILED = "state IN ('failed', 'cancelled')"
HAS_MODEL = "model_name IS NOT NULL"


def upgrade() -> None:
    build(
        "ix_jobs_newest_failed_of_caller",
        "jobs",
        ["caller_id", "state", "created_at", "id"],
        sqlite_where=sa.text(FAILED),
        postgresql_where=sa.text(FAILED),
    )
    build(
        "ix_jobs_newest_of_model",
        "jobs",
        ["model_name", "created_at", "id"],
        sqlite_where=sa.text(HAS_MODEL),
        postgresql_where=sa.text(HAS_MODEL),
    )
