"""Run Flower on the project's Celery app: `python -m medjobs.stack.flower --bind 127.0.0.1:5555`.

Started here and not through Celery's command line, which puts the working directory first on the import path.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from broker.app import make_app
from db import audit, jobs
from db.engine import Database
from jobs.settings import Settings

MAX_TASKS = 20_000
"""Tasks that Flower remembers; about 1.5 kB each."""


def password() -> str | None:
    """`user:password` from FLOWER_BASIC_AUTH, or from the file that FLOWER_BASIC_AUTH_FILE names (user `medjobs`)."""
    if file := os.environ.get("FLOWER_BASIC_AUTH_FILE"):
        secret = Path(file).read_text().strip()
        return secret if ":" in secret else f"medjobs:{secret}"
    return os.environ.get("FLOWER_BASIC_AUTH")


SAVE_MS = 30_000
"""Pause between two saves of what it remembers: as much a `kill -9` costs."""


def cancel(database: Database, job_id: str) -> str | None:
    """Cancel a job durably, noted in the audit; its state then, or None where there is no such job."""
    answer = jobs.request_cancel(database, job_id, None)
    if answer is None:
        return None
    audit.record(database, None, "cancel-from-flower", job_id)
    return str(answer.state)


def remembered(home: Path) -> Path:
    """Where Flower keeps what it saw (dbm adds a suffix), its owner's alone: who writes this pickle runs code here."""
    home.mkdir(parents=True, exist_ok=True)
    os.umask(0o077)
    return home / "flower.state"


def main() -> None:
    """Serve until SIGTERM. Without a password it does not start: Flower shows every job's id, and can cancel jobs."""
    parser = argparse.ArgumentParser(description="Flower on the medjobs broker.")
    parser.add_argument("--bind", default="127.0.0.1:5555", help="address:port")
    address, _, port = parser.parse_args().bind.rpartition(":")
    secret = password()
    if not secret or ":" not in secret:
        sys.exit("Flower can cancel jobs, so it needs a password: set FLOWER_BASIC_AUTH=user:password")
    os.environ["FLOWER_BASIC_AUTH"] = secret  # Flower reads it from there; as an argument it would show in `ps`.
    os.environ.pop("FLOWER_UNAUTHENTICATED_API", None)
    os.environ.setdefault("FLOWER_STATE_SAVE_INTERVAL", str(SAVE_MS))
    settings = Settings.from_environment()
    database = Database(settings.database, pool_size=2, wait_s=settings.database_wait_s)
    # Imported here: it reads its options when it is imported.
    from medjobs.stack.flower_pages import install

    install(lambda job_id: cancel(database, job_id))
    options = [
        f"--address={address}",
        f"--port={port}",
        f"--max_tasks={MAX_TASKS}",
        "--persistent=true",
        f"--db={remembered(settings.home)}",
        "--read_only=true",
        "--tasks_columns=name,uuid,state,received,started,runtime,worker",
    ]
    make_app(settings).start(["flower", *options])


if __name__ == "__main__":
    main()
