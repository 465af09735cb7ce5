"""Files that a job shows before it has a result, and the events that tell of them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "previews",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.CheckConstraint("fence > 0", name=op.f("ck_previews_fence_positive")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_previews_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "name", name=op.f("pk_previews")),
    )
    # SQLite changes no constraint in place: there the table is copied, which takes a moment for each million events.
    name = op.f("ck_events_type_known")
    with op.batch_alter_table("events", table_kwargs={"sqlite_autoincrement": True}) as events:
        events.drop_constraint(name, type_="check")
        events.create_check_constraint(name, "type IN ('state', 'progress', 'metric', 'log', 'artifact')")
