"""Statistics of `jobs` after 1,000 changes and one for every 500 jobs: 21,000 at ten million.

By default a tenth of the table has to change first, and to ten million jobs a burst of 100,000 is no tenth: plans would
go on as if nothing waited.
"""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE jobs SET (autovacuum_analyze_scale_factor = 0.002, autovacuum_analyze_threshold = 1000)"
        )
