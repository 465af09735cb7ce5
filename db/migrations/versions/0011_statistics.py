"""Statistics of `jobs` after every 20,000 changes.

By default a tenth of the table has to change first, and to ten million jobs a burst of 100,000 is no tenth: plans would
go on as if nothing waited.
"""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE jobs SET (autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000)")
