"""Labels of jobs in a table of their own, in the order of listings, which triggers write: for earlier releases, too.

The index of `jobs.labels` finds the jobs of a label, but not its newest. PostgreSQL therefore guesses whether many jobs
bear it, and where it guesses wrong, walks through all jobs for seconds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

LABELS_OF = {"postgresql": "jsonb_each_text", "sqlite": "json_each"}
ADD = """
INSERT INTO job_labels (job_id, key, value, created_at)
SELECT NEW.id, label.key, label.value, NEW.created_at
FROM {labels_of}(NEW.labels) AS label WHERE label.value IS NOT NULL;"""
REMOVE = "DELETE FROM job_labels WHERE job_id = OLD.id;"
ON = {"INSERT": ADD, "UPDATE OF labels, created_at": REMOVE + ADD}


def upgrade() -> None:
    op.create_table(
        "job_labels",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_labels_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "key", name=op.f("pk_job_labels")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_job_labels_newest", "job_labels", ["key", "value", "created_at", "job_id"])
    dialect = op.get_bind().dialect.name
    for change, statements in ON.items():
        name, work = f"job_labels_{change.split()[0].lower()}", statements.format(labels_of=LABELS_OF[dialect])
        if dialect == "postgresql":
            body = f"BEGIN {work} RETURN NULL; END"
            op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
            work = f"EXECUTE FUNCTION {name}()"
        else:
            work = f"BEGIN {work} END"
        op.execute(f"CREATE TRIGGER {name} AFTER {change} ON jobs FOR EACH ROW {work}")
