"""Engine, tables, migrations, and every statement that medjobs sends to its SQL database (SQLite or PostgreSQL)."""
