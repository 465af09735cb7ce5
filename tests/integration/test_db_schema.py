"""The migrations and the tables say the same, on both databases."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from db import schema
from db.engine import Database
from db.rows import Row


def constraints(db: Database) -> dict[str, dict[str, str]]:
    """CHECK constraints by table and name, without the spelling that a database gives them."""
    with db.read() as connection:
        found = inspect(connection)
        return {
            table: {
                str(one["name"]): re.sub(r"\s+", " ", str(one["sqltext"])) for one in found.get_check_constraints(table)
            }
            for table in found.get_table_names()
            if table != "alembic_version"
        }


def indexes(db: Database) -> dict[str, set[tuple[str | None, ...]]]:
    """Names and columns of the indexes by table."""
    with db.read() as connection:
        found = inspect(connection)
        return {
            table: {(one["name"], *one["column_names"]) for one in found.get_indexes(table)}
            for table in found.get_table_names()
            if table != "alembic_version"
        }


def test_given_a_migrated_database_when_it_is_compared_with_the_tables_then_nothing_differs(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Row.metadata) == []


def test_given_tables_made_from_the_classes_then_checks_and_indexes_equal_the_migrated_ones(
    database: Database, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if database.dialect == "sqlite":
        url = f"sqlite:///{tmp_path / 'other.db'}"
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.url(server.fresh())
    made = Database(url)
    with made.write() as connection:
        Row.metadata.create_all(connection)
    assert constraints(made) == constraints(database)
    assert indexes(made) == indexes(database)
    assert len(constraints(made)["jobs"]) >= 15
    made.close()


def test_given_several_processes_that_start_when_each_upgrades_then_all_end_at_the_newest(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue("postgres_server")
    for url in (f"sqlite:///{tmp_path / 'new.db'}", server.url(server.fresh())):
        assert schema.current(url) is None
        failed: list[BaseException] = []

        def start(url: str = url, failed: list[BaseException] = failed) -> None:
            try:
                schema.upgrade(url)
            except BaseException as error:
                failed.append(error)

        # Alembic keeps its context in a global of the process, so real rivals are processes; two in turn do here.
        for _ in range(2):
            thread = threading.Thread(target=start)
            thread.start()
            thread.join()
        assert failed == []
        assert schema.current(url) == schema.newest()
