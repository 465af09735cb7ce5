"""The benchmark's own PostgreSQL: on disk, synced as installed, in a folder that is kept from run to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from tests.services.postgres import Postgres

SETTINGS = {
    "shared_buffers": "1GB", "max_wal_size": "4GB", "max_connections": "300", "log_line_prefix": "%m %d ",
    "log_min_duration_statement": "500ms", "log_lock_waits": "on", "log_autovacuum_min_duration": "1s",
}  # fmt: skip
"""All else is PostgreSQL's default, `fsync` and `synchronous_commit` included. FOLDER/log says what was slow."""

FILLING = {**SETTINGS, "wal_level": "minimal", "max_wal_senders": "0", "full_page_writes": "off", "autovacuum": "off"}
"""Nobody needs the rows of a fill that was cut off."""


@contextmanager
def serving(folder: Path, *, filling: bool = False) -> Iterator[Postgres]:
    """The server of `folder`, made where there is none; halted when left, and its data kept."""
    settings = FILLING if filling else SETTINGS
    server = Postgres(durable=not filling, folder=folder, **settings)
    try:
        yield server
    finally:
        server.halt()


def make(server: Postgres, database: str) -> bool:
    """Create the database; whether it is new."""
    with psycopg.connect(plain(server, "postgres"), autocommit=True) as connection:
        there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
        if there is None:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database)))
        return there is None


def plain(server: Postgres, database: str) -> str:
    """The URL as libpq spells it."""
    return server.url(database).replace("+psycopg", "")
