"""One thread per process looks at the database for every `?wait=` call and event stream of that process.

Each look costs one statement for all waits and one for all streams, however many there are, and on SQLite nothing
where nothing was committed; with no held request it sleeps.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable

from db import reading
from db.changes import Changes
from db.engine import Database
from db.records import Event
from jobs.errors import DatabaseUnavailable

log = logging.getLogger("medjobs.api")

OUTAGE_S = 1.0
"""Pause after the database did not answer."""


class Watch:
    """One held request. `after` is the newest event it has; None for a wait, which wants the end alone."""

    def __init__(self, job_id: str, after: int | None) -> None:
        """Made by the poller."""
        self.job_id, self.after = job_id, after
        self._woken = threading.Event()
        self._events: deque[Event] = deque()

    def wait(self, timeout_s: float) -> list[Event]:
        """Hold until there is something to say or the time has passed; the events that came."""
        self._woken.wait(timeout_s)
        self._woken.clear()
        events: list[Event] = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def wake(self, events: Iterable[Event] = ()) -> None:
        """Called by the poller."""
        for event in events:
            if self.after is not None and event.id > self.after:
                self.after = event.id
                self._events.append(event)
        self._woken.set()


class Poller:
    """Watches for others. The thread starts with the first watch (after gunicorn's fork)."""

    def __init__(self, database: Database) -> None:
        """Nothing is read here."""
        self.stopping = False
        self._database = database
        self._watches: set[Watch] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, job_id: str, after: int | None = None) -> Watch:
        """Begin to watch a job: its end, or its events after `after`."""
        watch = Watch(job_id, after)
        with self._changed:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
                self._thread.start()
            self._changed.notify()
        return watch

    def forget(self, watch: Watch) -> None:
        """End a watch."""
        with self._changed:
            self._watches.discard(watch)

    def stop(self) -> None:
        """Let every held request go. Takes no lock: a signal handler calls it."""
        self.stopping = True

    def _run(self) -> None:
        changes, known = Changes(self._database), set[Watch]()
        while not self.stopping:
            with self._changed:
                while not self._watches:
                    self._changed.wait()
                watches = list(self._watches)
            started = time.monotonic()
            changed = changes.any()
            try:
                if changed or not known.issuperset(watches):
                    self._tick(watches)
                known = set(watches)
            except DatabaseUnavailable:
                known = set()
                log.warning("the database did not answer; %d held requests wait on", len(watches))
                time.sleep(OUTAGE_S)
            time.sleep(max(changes.pause_s - (time.monotonic() - started), 0.001))
        changes.close()
        with self._changed:
            for watch in self._watches:
                watch.wake()

    def _tick(self, watches: list[Watch]) -> None:
        waits = [watch for watch in watches if watch.after is None]
        if waits:
            ended = reading.ended(self._database, {watch.job_id for watch in waits})
            for watch in waits:
                if watch.job_id in ended:
                    watch.wake()
        since: dict[str, int] = {}
        for watch in watches:
            if watch.after is not None:
                since[watch.job_id] = min(watch.after, since.get(watch.job_id, watch.after))
        if since:
            found = reading.events_since(self._database, since)
            for watch in watches:
                if watch.after is not None and (events := found.get(watch.job_id)):
                    watch.wake(events)
