"""Worker processes, and the watch that tells a dead worker from a database that was away."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Integer
from sqlalchemy.orm import Mapped, mapped_column

from db.rows.base import SECONDS, Row
from db.text import Json, SafeText


class WorkerRow(Row):
    """One start of one worker process; a restarted process is a new row."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(SafeText, primary_key=True)
    host: Mapped[str] = mapped_column(SafeText)
    pid: Mapped[int] = mapped_column(Integer)
    pool: Mapped[str] = mapped_column(SafeText)
    device: Mapped[str] = mapped_column(SafeText)
    facts: Mapped[Any] = mapped_column(Json)
    memory: Mapped[Any] = mapped_column(Json)
    running: Mapped[Any] = mapped_column(Json)
    state: Mapped[str] = mapped_column(SafeText)
    control: Mapped[str] = mapped_column(SafeText, server_default="run")
    started_at: Mapped[float] = mapped_column(SECONDS)
    heartbeat_at: Mapped[float] = mapped_column(SECONDS)
    gone_at: Mapped[float | None] = mapped_column(SECONDS)

    __table_args__ = (CheckConstraint("control IN ('run', 'drain')", "control_known"),)


class WatchRow(Row):
    """One row: since when keepers have watched the workers without a gap.

    A worker that fell silent before `since` may have been kept from the database, not killed: no crash is charged.
    """

    __tablename__ = "watch"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    since: Mapped[float] = mapped_column(SECONDS)
    seen_at: Mapped[float] = mapped_column(SECONDS)

    __table_args__ = (CheckConstraint("id = 1", "one_row"), CheckConstraint("since <= seen_at", "since_before_seen"))
