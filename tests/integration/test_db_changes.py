"""A poller that asks first: it must never be told that nothing changed when something did."""

from __future__ import annotations

from db import audit, schema
from db.changes import Changes
from db.engine import Database


def test_given_commits_by_others_when_asked_then_each_is_noticed_once(database: Database) -> None:
    changes = Changes(database)
    assert changes.any()
    for _ in range(3):
        audit.record(database, None, "act")
        assert changes.any()
    if database.dialect == "sqlite":
        assert not changes.any()
    changes.close()


def test_given_a_rolled_back_write_when_asked_then_nothing_changed(sqlite_url: str) -> None:
    schema.upgrade(sqlite_url)
    db = Database(sqlite_url)
    changes = Changes(db)
    changes.any()
    try:
        with db.write() as connection:
            audit.record(connection, None, "act")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert not changes.any()
    changes.close()
    db.close()
