"""Indexes on a table in use: PostgreSQL builds and drops them while others go on writing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import op


def build(name: str, table: str, columns: list[str], **options: Any) -> None:
    """Make an index. One that a build which was interrupted left, and that nobody reads, is dropped and built again."""
    if op.get_bind().dialect.name != "postgresql":
        op.create_index(name, table, columns, **options)
        return
    with _beside_others():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)


def drop(name: str, table: str) -> None:
    """Drop an index, where it is there still."""
    if op.get_bind().dialect.name != "postgresql":
        op.drop_index(name, table, if_exists=True)
        return
    with _beside_others():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


@contextmanager
def _beside_others() -> Iterator[None]:
    """Outside of any transaction and without a lock that stops writers. It waits for every transaction that is older,
    such as a backup's, and holds nobody up meanwhile: so there is no limit to this wait."""
    with op.get_context().autocommit_block():
        usual = op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar_one()
        op.execute("SET lock_timeout = 0")
        yield
        op.get_bind().exec_driver_sql(f"SET lock_timeout = '{usual}'")
