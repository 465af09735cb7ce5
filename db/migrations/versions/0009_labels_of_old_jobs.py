"""The labels of the jobs that were there before the triggers; then nothing needs the index that they were found by."""

import sqlalchemy as sa
from alembic import op

from db.migrations.indexes import drop

revision = "0009"
down_revision = "0008"

AT_ONCE = 20_000

# Locked so, no job is deleted, and no label struck out of it, between being read here and its labels being written.
# Whoever claims or ends one waits for the commit, some tenths of a second; all lock in the order of the ids.
COPY = sa.text("""
WITH batch AS MATERIALIZED (
    SELECT id, labels, created_at FROM jobs WHERE id > :after ORDER BY id LIMIT :most FOR SHARE),
copied AS (
    INSERT INTO job_labels (job_id, key, value, created_at)
    SELECT id, label.key, label.value, created_at FROM batch, jsonb_each_text(labels) AS label
    WHERE label.value IS NOT NULL
    ON CONFLICT DO NOTHING)
SELECT max(id) FROM batch""")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("""INSERT INTO job_labels (job_id, key, value, created_at)
            SELECT jobs.id, label.key, label.value, jobs.created_at
            FROM jobs, json_each(jobs.labels) AS label WHERE label.value IS NOT NULL
            ON CONFLICT DO NOTHING""")
        drop("ix_jobs_labels", "jobs")
        return
    with op.get_context().autocommit_block():
        after: str | None = ""
        while after is not None:
            after = op.get_bind().execute(COPY, {"after": after, "most": AT_ONCE}).scalar_one()
        op.execute("ANALYZE job_labels")
    drop("ix_jobs_labels", "jobs")
