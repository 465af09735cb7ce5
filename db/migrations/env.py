"""Alembic's entry: runs the migrations on the connection that db.schema hands over, inside its transaction."""

from alembic import context

from db.rows import Row

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Row.metadata)
with context.begin_transaction():
    context.run_migrations()
