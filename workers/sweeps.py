"""What the keeper does, one sweep a method. Each is idempotent and bounded, so any number of keepers may run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from broker.connection import UNREACHABLE
from broker.dispatch import Dispatcher
from broker.health import heads
from broker.queues import POOLS, PRIORITIES
from db import jobs, retention, workers
from db.depths import unserved, waiting
from db.engine import Database
from db.reading import previews, running_fences
from jobs import logs
from jobs.messages import Message
from jobs.settings import Settings
from jobs.states import FINAL, State
from models.registry import kinds
from registry.placing import Placing
from registry.versions import Registry
from storage.files import Storage
from workers import keeper_metrics as metrics

log = logging.getLogger("medjobs.keeper")

DAY_S = 86_400.0
SEND_AT_ONCE = 1000
"""Messages in one round trip: Redis answers within a few milliseconds."""

FRESH_S = 2.0
"""A new job is the API's to announce: it does so at once, and notes it a moment later (a busy one, some moments)."""

DELETED_AT_ONCE, DELETING_S = 200, 5.0
"""Jobs in one transaction of a sweep that deletes; one such sweep ends after so many seconds and goes on at its next
turn, so that a fleet of tens of jobs per second is kept up with and nothing else of the keeper waits long."""

ABSENT_S = 60.0
"""Longer than a worker needs to start again: its jobs wait for it so long before others take them."""

FOLDERS_AT_ONCE = 500
"""Job folders that one sweep compares with the database."""


class Sweeps:
    """The sweeps over one database, one broker and one storage."""

    def __init__(self, db: Database, storage: Storage, dispatcher: Dispatcher, settings: Settings) -> None:
        """Opens nothing."""
        self._db = db
        self._storage = storage
        self._dispatcher = dispatcher
        self._settings = settings
        self._placing = Placing(db, Registry(db, storage, settings.home / "cache" / "models"), settings.worker_dead_s)
        self._absent: dict[str, float] = {}
        """Queues that nobody served at the last look, and since when (monotonic)."""

        self._folders: list[str] = []
        """Folders of the storage that the sweep over them has still to look at."""

    def send_unsent(self) -> None:
        """Committed and never sent: Redis was away, or the job came back to the queue, or its time has come."""
        while messages := jobs.to_send(self._db, SEND_AT_ONCE, fresh_s=FRESH_S):
            if self._send(messages, "unsent") < SEND_AT_ONCE:
                return

    def send_lost(self) -> None:
        """Sent, and the message is gone: older than the head of its list, which is served in the order of sending."""
        resend_s = self._settings.resend_s
        for pool in POOLS:
            if not jobs.lost(self._db, pool, resend_s=resend_s, limit=1):
                continue  # nothing was sent so long ago: the usual case, and one statement
            for need in waiting(self._db, pool):
                for wire in PRIORITIES:
                    self._send_lost(pool, need, wire)

    def _send_lost(self, pool: str, need: str, wire: int) -> None:
        try:
            head = heads(self._settings, pool, need)[wire]
        except UNREACHABLE:
            return  # nothing can be said, and nothing be sent
        if head.waiting and head.sent_at is None:
            return  # not one of our messages; whoever put it there is to take it away
        lost = jobs.lost(
            self._db, pool, queue=need, before=head.sent_at, head=head.job_id, resend_s=self._settings.resend_s,
            priority=9 - wire,
        )  # fmt: skip
        for first in range(0, len(lost), SEND_AT_ONCE):
            if self._send(lost[first : first + SEND_AT_ONCE], "lost") == 0:
                return
        if lost:
            log.warning("%d messages of %s, queue %s, were lost and are sent again", len(lost), pool, need)

    def expire_leases(self) -> None:
        """Jobs whose worker died, or cannot renew, go back to the queue under a higher fence."""
        settings = self._settings
        taken = jobs.expire_leases(self._db, worker_dead_s=settings.worker_dead_s, max_crashes=settings.max_crashes)
        for one in taken:
            metrics.RESCUED.labels(one.outcome.value).inc()
            logs.attempts.info("attempt ends", extra={"job_id": one.id, "outcome": one.outcome.value})
        if taken:
            log.warning("%d leases ran out; those jobs are free again", len(taken))

    def boost(self) -> None:
        """What waits long rises by one priority, and so into another list."""
        self._send_all(jobs.boost(self._db, self._settings.age_boost_s))

    def leave_absent(self) -> None:
        """Jobs in a queue whose workers are gone, be they those of their model or larger devices that the jobs were
        handed on to, wait from now on where their model's jobs wait."""
        found = [one.queue for one in unserved(self._db, self._settings.worker_dead_s) if one.pool == "inference"]
        now = time.monotonic()
        self._absent = {queue: self._absent.get(queue, now) for queue in found}
        for queue in [queue for queue, since in self._absent.items() if now - since >= ABSENT_S]:
            moved = sum(self._leave(queue, version) for version in jobs.versions_in(self._db, "inference", queue))
            if moved:
                log.warning("no worker is left for %s; %d jobs wait for others now", queue, moved)

    def _leave(self, queue: str, version: tuple[str, str | None, int | None]) -> int:
        kind, name, number = version
        if kind not in kinds():
            return 0  # of another release, whose keeper knows where it may go
        general = self._placing.general(kinds()[kind], name, number)
        return 0 if general == queue else jobs.change_queue(self._db, "inference", queue, version, general)

    def forget_inputs(self) -> None:
        """Inputs of jobs that ended long ago."""
        until = time.monotonic() + DELETING_S
        while retention.forget_inputs(self._db, older_s=self._settings.keep_inputs_days * DAY_S, limit=DELETED_AT_ONCE):
            if time.monotonic() > until:
                return

    def purge_records(self) -> None:
        """Records of jobs that ended long ago, and their files."""
        if self._settings.retention_days is None:
            return
        until = time.monotonic() + DELETING_S
        older_s = self._settings.retention_days * DAY_S
        while found := retention.purge_records(self._db, older_s=older_s, limit=DELETED_AT_ONCE):
            for job_id in found:
                self._storage.delete_job(job_id)
            if time.monotonic() > until:
                return

    def sweep_blobs(self) -> None:
        """Bytes that no caller holds and no job reads."""
        grace_s = self._settings.blob_grace_s

        def remove(digest: str) -> bool:
            return self._storage.delete(digest, older_s=grace_s)

        retention.sweep_blobs(self._db, grace_s=grace_s, remove=remove)

    def sweep_folders(self) -> None:
        """Files of jobs that have no record, and of attempts that did not become the result.

        While a job has not ended, its dead attempts keep their checkpoints, and of their files those that are its
        previews: a row is forgotten before its file, and no attempt but the newest adds one.
        """
        if not self._folders:
            self._folders = self._storage.folders_of_jobs()
        batch, self._folders = self._folders[:FOLDERS_AT_ONCE], self._folders[FOLDERS_AT_ONCE:]
        known = running_fences(self._db, batch)
        shown = previews(self._db, batch)
        if ended := [job_id for job_id in shown if job_id in known and known[job_id][0] in FINAL]:
            retention.forget_previews(self._db, ended)
        for job_id in batch:
            state, fence = known.get(job_id, (None, 0))
            if state is None:
                self._storage.delete_job(job_id)
            elif state in FINAL:
                self._storage.delete_job(job_id, keep_fence=fence if state is State.SUCCEEDED else 0)
            else:
                self._sweep_dead_attempts(job_id, fence, {(one.fence, one.name) for one in shown.get(job_id, ())})

    def _sweep_dead_attempts(self, job_id: str, fence: int, shown: set[tuple[int, str]]) -> None:
        """Files, besides checkpoints, of attempts before `fence` that are not `shown` (fence, name)."""
        for dead in self._storage.fences(job_id):
            if dead < fence:
                for name in self._storage.artifacts(job_id, dead):
                    if (dead, name) not in shown:
                        self._storage.delete_artifact(job_id, dead, name)

    def tidy(self) -> None:
        """Records of workers that are long gone, and what uploads that were cut off left behind."""
        workers.prune(self._db, DAY_S)
        self._storage.clean()

    def _send_all(self, messages: Sequence[Message]) -> None:
        for first in range(0, len(messages), SEND_AT_ONCE):
            self._send(messages[first : first + SEND_AT_ONCE], "waited-long")

    def _send(self, messages: Sequence[Message], why: str) -> int:
        sent = self._dispatcher.send(messages)
        metrics.SENT.labels(why).inc(len(sent))
        metrics.UNREACHABLE.inc(len(messages) - len(sent))
        if sent:
            jobs.mark_sent(self._db, sent)
        return len(sent)
