"""Commits how attempts ended: whatever waits goes into one transaction, and is tried until the database takes it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.wire import Event
from db import jobs
from db.engine import Database
from db.records import Claim, Completion, Release
from jobs import logs
from jobs.errors import DatabaseUnavailable, JobError
from jobs.settings import Settings
from jobs.states import Outcome, State
from workers.attempt import Attempt
from workers.flower import Flower

log = logging.getLogger("medjobs.workers")


@dataclass(frozen=True)
class Ending:
    """What becomes of an attempt: a completion, a release, or nothing to be said because it is no longer ours."""

    attempt: Attempt
    outcome: Completion | Release | None
    at: float = field(default_factory=time.monotonic)


class Endings:
    """The thread that ends attempts. `freed` is told how many places became free."""

    def __init__(
        self, db: Database, settings: Settings, flower: Flower, freed: Callable[[Sequence[str]], None]
    ) -> None:
        """Starts the thread."""
        self._db = db
        self._settings = settings
        self._flower = flower
        self._freed = freed
        self._waiting: list[Ending] = []
        self._busy = False
        self._arrived = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="endings", daemon=True)
        self._thread.start()

    def put(self, endings: Sequence[Ending]) -> None:
        """Commit these, together with whatever else waits."""
        with self._arrived:
            self._waiting.extend(endings)
            self._arrived.notify()

    def close(self, timeout_s: float) -> None:
        """Commit what waits, then stop."""
        with self._arrived:
            self._closed = True
            self._arrived.notify()
        self._thread.join(timeout_s)

    def commit(self, endings: Sequence[Ending]) -> None:
        """One transaction for the completions and one for the releases, and then the news to Flower."""
        done = [one.outcome for one in endings if isinstance(one.outcome, Completion)]
        back = [one.outcome for one in endings if isinstance(one.outcome, Release)]
        accepted = jobs.complete(self._db, done)
        if back:
            accepted |= jobs.release(self._db, back, max_attempts=self._settings.max_attempts)
        if len(accepted) < len(done) + len(back):
            log.warning("%d results came too late and were discarded", len(done) + len(back) - len(accepted))
        told = [self._event(one) for one in endings if one.attempt.id in accepted]
        self._flower.tell([event for event in told if event is not None])
        for one in endings:
            if one.attempt.id in accepted and one.outcome is not None:
                logs.attempts.info("attempt ends", extra=_fields(one.attempt.claim, one.outcome))

    def _run(self) -> None:
        while endings := self._take():
            self._persist(endings)
            self._freed([one.attempt.id for one in endings])

    def _take(self) -> list[Ending]:
        with self._arrived:
            while not self._waiting and not self._closed:
                self._arrived.wait()
            taken, self._waiting = self._waiting, []
            return taken

    def _persist(self, endings: Sequence[Ending]) -> None:
        """A result is never thrown away because the database is away: the fence decides whether it still counts."""
        pause = 0.1
        while True:
            try:
                return self.commit(endings)
            except DatabaseUnavailable:
                if self._closed:
                    log.error("%d results could not be committed; their leases run out", len(endings))
                    return None
                log.warning("the database is away; %d results wait", len(endings))
            except Exception as error:
                # One row that the database refuses must not hold up the others, nor this thread.
                log.error("%s at the end of %d attempts", type(error).__name__, len(endings))
                if len(endings) > 1:
                    for one in endings:
                        self._persist([one])
                elif not self._refuse(endings[0]):
                    return None
                return None
            time.sleep(pause)
            pause = min(2.0, pause * 2)

    def _refuse(self, ending: Ending) -> bool:
        """The database cannot store this outcome: the job fails by our own fault."""
        claim = ending.attempt.claim
        failed = Completion(claim.id, claim.fence, State.FAILED, error=JobError().as_dict())
        try:
            return bool(jobs.complete(self._db, [failed]))
        except Exception as error:
            said = {"job_id": claim.id, "fence": claim.fence}
            log.error("%s: the job %s is left to its lease", type(error).__name__, claim.id, extra=said)
            return False

    def _event(self, ending: Ending) -> Event | None:
        outcome, attempt = ending.outcome, ending.attempt
        if isinstance(outcome, Release):
            return self._flower.retried(attempt.id, (outcome.error or {}).get("code", outcome.outcome.value))
        if outcome is None:
            return None
        if outcome.state is State.FAILED:
            return self._flower.failed(attempt.id, (outcome.error or {}).get("code", "failed"))
        if outcome.state is State.CANCELLED:
            return self._flower.revoked(attempt.id)
        return self._flower.succeeded(attempt.id, ending.at - attempt.taken_at)


def _fields(claim: Claim, outcome: Completion | Release) -> dict[str, Any]:
    """What the log says of an end."""
    how = outcome.outcome if isinstance(outcome, Release) else outcome.state
    code = (outcome.error or {}).get("code")
    return {"job_id": claim.id, "fence": claim.fence, "kind": claim.kind, "outcome": how.value, "code": code}


def back_to_queue(attempt: Attempt, outcome: Outcome, error: JobError | None, settings: Settings) -> Ending:
    """The attempt hands its job back: after a temporary error with a growing delay, else at once and uncharged."""
    claim = attempt.claim
    if error is None:
        return Ending(attempt, Release(claim.id, claim.fence, outcome, charge=False))
    delay = retry_delay(claim, settings)
    return Ending(attempt, Release(claim.id, claim.fence, outcome, delay, error.as_dict(), charge=True))


def retry_delay(claim: Claim, settings: Settings) -> float:
    """Seconds before the next attempt: doubled with each failure (a drain is none), with some chance in it so that a
    crowd comes back spread."""
    doubled: float = settings.retry_base_s * 2 ** min(claim.failures, 20)
    return min(settings.retry_cap_s, doubled) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing


def failed(attempt: Attempt, error: JobError) -> Ending:
    """The job is failed."""
    return Ending(attempt, Completion(attempt.id, attempt.claim.fence, State.FAILED, error=error.as_dict()))


def cancelled(attempt: Attempt) -> Ending:
    """The job is cancelled as its caller asked."""
    return Ending(attempt, Completion(attempt.id, attempt.claim.fence, State.CANCELLED))
