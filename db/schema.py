"""Bring a database to the schema of this version: Alembic's migrations, packaged beside this file."""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from db.engine import Database

_LOCK = 0x6D65646A
"""Key of PostgreSQL's advisory lock under which one process migrates ("medj")."""

TURN_S = 0.3
"""Pause between two tries to have that lock."""


def upgrade(url: str) -> None:
    """Apply the migrations that are missing, while others work. Safe when several processes start at once."""
    database = Database(url)
    try:
        if database.dialect == "postgresql":
            with database.session() as connection:
                _wait_for_turn(connection)
                command.upgrade(_config(connection), "head")
        else:
            with database.write() as connection:
                command.upgrade(_config(connection), "head")
    finally:
        database.close()


def _wait_for_turn(connection: Connection) -> None:
    """Take the lock under which one process migrates; it goes with the connection.

    Both waits have an operator before them: for another process's migrations, and for those of a large table. A lock
    that they need of a table in use is still given up after a while. Asked again and again and not waited for: a
    statement that waits holds a snapshot, for whose end the other's index would wait.
    """
    connection.execute(text("SET statement_timeout = 0"))
    connection.commit()
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}).scalar_one():
        connection.commit()
        time.sleep(TURN_S)
    connection.commit()


def current(url: str) -> str | None:
    """The revision that the database is at, or None where it is empty."""
    database = Database(url)
    try:
        with database.read() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        database.close()


def newest() -> str | None:
    """The revision that this version of medjobs needs."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
