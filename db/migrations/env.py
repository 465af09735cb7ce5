"""Alembic's entry: runs the migrations on the connection that db.schema hands over.

Inside its transaction where it has begun one (SQLite), else in a transaction for each migration (PostgreSQL), so that
no lock of one is held while the next builds an index.
"""

from alembic import context

from db.rows import Row

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Row.metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
