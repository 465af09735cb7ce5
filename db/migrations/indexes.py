"""Indexes on a table in use: PostgreSQL builds them while others go on writing."""

from __future__ import annotations

from typing import Any

from alembic import op


def build(name: str, table: str, columns: list[str], **options: Any) -> None:
    """Make an index. On PostgreSQL outside of any transaction and without a lock that stops writers.

    A build that was interrupted leaves an index that nobody reads: it is dropped and built again. It waits for every
    transaction that is older, such as a backup's, and holds nobody up meanwhile: so there is no limit to this wait.
    """
    if op.get_bind().dialect.name != "postgresql":
        op.create_index(name, table, columns, **options)
        return
    with op.get_context().autocommit_block():
        usual = op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar_one()
        op.execute("SET lock_timeout = 0")
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)
        op.get_bind().exec_driver_sql(f"SET lock_timeout = '{usual}'")
