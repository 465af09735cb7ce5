"""The ledger of `medjobs demo --break` would say so if a job were lost or committed twice."""

from __future__ import annotations

from typing import Any

from medjobs.breaking import Ledger, ledger
from medjobs.client import Event


class Told:
    """A job as its own records tell it."""

    def __init__(self, state: str, commits: int, outcomes: tuple[str, ...]) -> None:
        self.state, self._commits = state, commits
        self.data: dict[str, Any] = {"attempts": [{"outcome": outcome} for outcome in outcomes]}

    def events(self) -> list[Event]:
        seen = [Event(1, "state", {"state": "queued"}), Event(2, "progress", {"fraction": 1.0})]
        return seen + [Event(3 + n, "state", {"state": "succeeded"}) for n in range(self._commits)]

    def refresh(self) -> None:
        pass


PEACEFUL = Told("succeeded", 1, ("succeeded",))
RESCUED = Told("succeeded", 1, ("worker-lost", "lease-expired", "succeeded"))
RETRIED = Told("succeeded", 1, ("retried", "succeeded"))


def test_a_job_that_another_worker_finished_is_rescued() -> None:
    found = ledger([PEACEFUL, RESCUED, RETRIED])  # type: ignore[list-item]
    assert found == Ledger(accepted=3, committed=3, lost=0, twice=0, rescued=1)
    assert found.balanced


def test_a_job_that_never_succeeded_is_lost() -> None:
    found = ledger([PEACEFUL, Told("failed", 0, ("failed",)), Told("succeeded", 0, ("succeeded",))])  # type: ignore[list-item]
    assert (found.committed, found.lost) == (1, 2)
    assert not found.balanced


def test_a_second_commit_is_seen() -> None:
    found = ledger([Told("succeeded", 2, ("lease-expired", "succeeded"))])  # type: ignore[list-item]
    assert (found.committed, found.twice) == (1, 1)
    assert not found.balanced
