"""Claims the jobs whose messages arrived: whatever has gathered goes into one claim; suspects go alone."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque

from db.engine import Database
from db.suspects import crashed
from jobs.errors import DatabaseUnavailable
from workers.blame import where
from workers.line import Line

log = logging.getLogger("medjobs.workers")


class Taker:
    """The thread between the messages and the line."""

    def __init__(self, db: Database, line: Line) -> None:
        """Starts it."""
        self._db = db
        self._line = line
        self._inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._alone: deque[str] = deque()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taker", daemon=True)
        self._thread.start()

    def receive(self, job_id: str) -> None:
        """A message arrived."""
        self._inbox.put(job_id)

    def stop(self) -> list[str]:
        """Claim nothing more; the ids that arrived and were not claimed."""
        self._stopped.set()
        self._inbox.put(None)
        self._thread.join(30)
        left = list(self._alone)
        while not self._inbox.empty():
            job_id = self._inbox.get_nowait()
            left += [] if job_id is None else [job_id]
        return left

    def _run(self) -> None:
        while not self._stopped.is_set():
            ids = self._gather()
            if ids:
                self._persist(ids)
            while self._alone and not self._stopped.is_set():
                self._take_alone(self._alone[0])

    def _gather(self) -> list[str]:
        ids = [self._inbox.get()]
        while not self._inbox.empty():
            ids.append(self._inbox.get_nowait())
        return [job_id for job_id in dict.fromkeys(ids) if job_id is not None]

    def _take(self, ids: list[str]) -> None:
        """A job that was running in a worker that died is kept apart, so that it can take nobody with it."""
        suspects = crashed(self._db, ids)
        self._alone.extend(job_id for job_id in ids if job_id in suspects)
        others = [job_id for job_id in ids if job_id not in suspects]
        if others:
            self._line.take(others)

    def _take_alone(self, job_id: str) -> None:
        """Once nothing else is held, and until it has ended."""
        self._wait_until_empty()
        if self._stopped.is_set():
            return
        self._alone.popleft()
        if self._persist([job_id], alone=True):
            self._wait_until_empty()

    def _wait_until_empty(self) -> None:
        while not self._stopped.is_set() and not self._line.wait_until_empty(0.5):
            pass

    def _persist(self, ids: list[str], alone: bool = False) -> bool:
        pause = 0.1
        while not self._stopped.is_set():
            try:
                self._line.take(ids) if alone else self._take(ids)
                return True
            except DatabaseUnavailable:
                log.warning("the database is away; %d messages wait", len(ids))
            except Exception as error:
                log.error("%s while claiming %d jobs: %s", type(error).__name__, len(ids), where(error))
            self._stopped.wait(pause)
            pause = min(2.0, pause * 2)
        self._alone.extendleft(reversed(ids))
        return False
