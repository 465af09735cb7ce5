"""Running totals, so that metrics need not count millions of rows."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Integer
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import SECONDS, Row
from db.text import SafeText


class TallyRow(Row):
    """One running total: of what (`what`, with its labels), and for a histogram of which bucket (db/tallies.py).

    `shard` keeps processes from waiting for each other: each adds to rows of its own shard, and readers sum over them.
    """

    __tablename__ = "tallies"

    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    what: Mapped[str] = mapped_column(SafeText, primary_key=True)
    kind: Mapped[str] = mapped_column(SafeText, primary_key=True)
    label: Mapped[str] = mapped_column(SafeText, primary_key=True)
    code: Mapped[str] = mapped_column(SafeText, primary_key=True)
    bucket: Mapped[float] = mapped_column(SECONDS, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (CheckConstraint("count >= 0", "count_not_negative"),)
