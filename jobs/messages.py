"""What travels through the broker for one job: names and a priority, never data."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """One job to be announced to the workers; the job itself stays in the database."""

    id: str
    kind: str
    pool: str
    priority: int
    """0..9 as the caller counts: 9 is the most urgent."""

    queue: str = "any"
    """Which of the pool's queues (jobs/needs.py)."""
