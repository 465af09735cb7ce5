"""Alembic's migrations of the schema; run through db.schema."""
