"""Run Flower on the project's Celery app: `python -m medjobs.stack.flower --bind 127.0.0.1:5555`.

Started here and not through Celery's command line, which puts the working directory first on the import path.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from broker.app import make_app
from jobs.settings import Settings

MAX_TASKS = 20_000
"""Tasks that Flower remembers; about 1.5 kB each."""


def password() -> str | None:
    """`user:password` from FLOWER_BASIC_AUTH, or from the file that FLOWER_BASIC_AUTH_FILE names (user `medjobs`)."""
    if file := os.environ.get("FLOWER_BASIC_AUTH_FILE"):
        secret = Path(file).read_text().strip()
        return secret if ":" in secret else f"medjobs:{secret}"
    return os.environ.get("FLOWER_BASIC_AUTH")


def main() -> None:
    """Serve until SIGTERM. Without a password it does not start: Flower can stop workers and tasks."""
    parser = argparse.ArgumentParser(description="Flower on the medjobs broker.")
    parser.add_argument("--bind", default="127.0.0.1:5555", help="address:port")
    address, _, port = parser.parse_args().bind.rpartition(":")
    secret = password()
    if not secret or ":" not in secret:
        sys.exit("Flower can stop workers, so it needs a password: set FLOWER_BASIC_AUTH=user:password")
    os.environ["FLOWER_BASIC_AUTH"] = secret  # Flower reads it from there; as an argument it would show in `ps`.
    options = [f"--address={address}", f"--port={port}", f"--max_tasks={MAX_TASKS}"]
    make_app(Settings.from_environment()).start(["flower", *options, "--tasks_columns=name,uuid,state,runtime,worker"])


if __name__ == "__main__":
    main()
