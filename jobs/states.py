"""The states of a job and the only transitions between them (drawn in docs/states.md)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job stands. What a crash does is said beside each state."""

    QUEUED = "queued"
    """Committed and waiting. A crash of anything loses at most its Redis message; the keeper sends it again."""

    RUNNING = "running"
    """Claimed by one worker under a lease and a fence. If the worker dies, its lease runs out and the keeper puts the
    job back to queued under a higher fence; whatever the old worker still says is refused."""

    SUCCEEDED = "succeeded"
    """The result is committed. Final: nothing changes it."""

    FAILED = "failed"
    """A permanent error, too many temporary ones, or three dead workers. Final."""

    CANCELLED = "cancelled"
    """Cancelled by its caller before it ended. Final."""


TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""States that nothing leaves."""


class Outcome(StrEnum):
    """Why an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    """A temporary error; the job went back to the queue."""

    DRAINED = "drained"
    """The worker was asked to stop and handed the job back; not charged."""

    LEASE_EXPIRED = "lease-expired"
    """The worker lived but could not renew (a pause, a database outage); not charged."""

    WORKER_LOST = "worker-lost"
    """The worker's own heartbeat stopped too; charged as a crash."""
