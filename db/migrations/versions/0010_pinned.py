"""An index of the few jobs that name data sets: a search among all that wait took seconds for each data set."""

import sqlalchemy as sa

from db.migrations.indexes import build

revision = "0010"
down_revision = "0009"

HAS_PINS = "pins IS NOT NULL"


def upgrade() -> None:
    build("ix_jobs_pinned", "jobs", ["state"], sqlite_where=sa.text(HAS_PINS), postgresql_where=sa.text(HAS_PINS))
