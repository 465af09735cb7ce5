"""Running totals for the metrics. Releases before this one go on beside it; they only do not count."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Float(53), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Float(53), nullable=False),
        sa.CheckConstraint("count >= 0", name=op.f("ck_tallies_count_not_negative")),
        sa.PrimaryKeyConstraint("shard", "what", "kind", "label", "code", "bucket", name=op.f("pk_tallies")),
    )
