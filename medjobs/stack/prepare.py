"""Make a home ready: the database's schema and the admin token; and see that the storage is the one that the database
knows. Run as a child, so that SQLAlchemy leaves with it."""

from __future__ import annotations

import sys
from contextlib import suppress

from db import callers, schema
from db.engine import Database
from jobs.errors import JobError
from jobs.settings import Settings
from medjobs.failing import SAID, Trouble
from medjobs.joining import Away, check_storage
from medjobs.stack.home import Home, write_secret

ADMIN = "admin"
"""The caller that the embedded stack's own token belongs to."""


def prepare(settings: Settings) -> None:
    """Upgrade the schema, and write an admin token where the home has none that works.

    Raises `Trouble` for a storage that lacks the installation's files: jobs would fail for want of theirs.
    """
    schema.upgrade(settings.database)
    database = Database(settings.database, wait_s=settings.database_wait_s)
    try:
        path = Home(settings.home).token
        known = path.read_text().strip() if path.exists() else ""
        if not known or callers.authenticate(database, known) is None:
            write_secret(path, callers.create_token(database, ADMIN, ["read", "submit", "admin"], None))
        path.chmod(0o600)
        with suppress(Away):  # jobs wait for it
            check_storage(settings, database)
    finally:
        database.close()


def main() -> int:
    """Prepare the home that MEDJOBS_HOME names; a known failure is one line on stderr and exit code 1."""
    try:
        prepare(Settings.from_environment())
    except JobError as error:
        print(f"{error.title}: {error.detail}", file=sys.stderr)
        return 1
    except Trouble as trouble:
        print(f"{trouble.message}\n{trouble.remedy}", file=sys.stderr)
        return SAID
    return 0


if __name__ == "__main__":
    sys.exit(main())
