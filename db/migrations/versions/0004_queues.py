"""Which of a pool's queues a job waits in. The release before inserts and claims jobs without knowing the column."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # A constant default: PostgreSQL rewrites no row for it, SQLite neither.
    op.add_column("jobs", sa.Column("queue", sa.Text(), server_default="any", nullable=False))
