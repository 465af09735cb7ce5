"""What all rows share: the metadata with its naming convention, and column types that both databases know."""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, Integer, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

from db.text import Json


class Row(DeclarativeBase):
    """Base of every table. Constraints are named, so that an error and a migration can name them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


SECONDS = Float(53)
"""A moment, in seconds since 1970 by the database's clock, or a length of time in seconds."""

SERIAL = BigInteger().with_variant(Integer(), "sqlite")
"""An automatic number; SQLite numbers only INTEGER primary keys."""

LABELS = Json().with_variant(JSONB(), "postgresql")
"""A flat object of strings; listings by label read the copy in `job_labels`."""
