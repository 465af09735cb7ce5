"""A place: one slot of a supervisor, in which a worker process runs, dies and is started again.

What became of the processes before it is handed to the next one by its environment, and stands in its facts. While
none can start, the supervisor shows the place itself, as a worker in the state `restarting`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from jobs.ids import new_id
from jobs.settings import Settings

log = logging.getLogger("medjobs.workers")

HISTORY = "MEDJOBS_PLACE"
"""Environment variable: the place's history as JSON."""

EXIT_STUCK = 75
"""The process ended itself because a thread was stuck, after handing its jobs back (EX_TEMPFAIL)."""

EXIT_DEVICE = 76
"""The process ended itself because its GPU failed."""

WAIT_S = 2.0
"""A database that is away holds up no other place for longer."""

RESTARTING = "restarting"


def words(status: int) -> str:
    """Why a process ended, from its exit status as `subprocess` gives it: negative for a signal."""
    if status == EXIT_STUCK:
        return "ended itself: a decode, a predict or a load did not end"
    if status == EXIT_DEVICE:
        return "ended itself: its device failed, or is not there (nvidia-smi and the kernel's log say more)"
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        return f"killed by signal {-status}"
    hint = {
        "SIGKILL": ", often by the kernel when the host's memory is used up",
        "SIGSEGV": ", a fault in compiled code",
        "SIGBUS": ", often when shared memory or a disk is full",
    }
    return f"killed by {name} ({-status}){hint.get(name, '')}"


def history(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What the supervisor told this process of those before it: `restarts` and `last_exit`, for its facts."""
    try:
        told = json.loads(environ.get(HISTORY, ""))
    except ValueError:
        told = {}
    return {"restarts": told.get("restarts", 0), "last_exit": told.get("last_exit")}


class Place:
    """The history of one slot, and its row while nothing runs there."""

    def __init__(self, settings: Settings, name: str, pool: str, device: str) -> None:
        """`name` is the same for every process of the slot: host, pool and index."""
        self.name = name
        self.restarts = 0
        self.last_exit: dict[str, Any] | None = None
        self._settings = settings
        self._pool, self._device = pool, device
        self._row: str | None = None
        self._beat_at = 0.0

    def environment(self) -> dict[str, str]:
        """For the next process."""
        return {HISTORY: json.dumps({"restarts": self.restarts, "last_exit": self.last_exit})}

    def died(self, status: int, lived_s: float) -> None:
        """A process ended that should not have."""
        self.restarts += 1
        self.last_exit = {"reason": words(status), "at": time.time(), "after_s": round(lived_s, 1)}

    def show(self, host: str) -> None:
        """Say that nothing runs here, and why; call it often, it writes with every heartbeat. Never raises."""
        if time.monotonic() < self._beat_at:
            return
        from db import workers

        self._beat_at = time.monotonic() + self._settings.heartbeat_s
        facts = {"restarts": self.restarts, "last_exit": self.last_exit}
        if self._row is None:
            row = f"{self.name}:{RESTARTING}-{new_id()[-6:]}"
            shown = workers.Worker(row, host, os.getpid(), self._pool, self._device, facts, state=RESTARTING)
            self._row = row if self._write(lambda db: workers.register(db, shown)) else None
            return
        row = self._row
        self._write(lambda db: workers.heartbeat(db, row, (), {}, RESTARTING))

    def hide(self) -> None:
        """A process runs here again, or the supervisor stops. Never raises."""
        if self._row is None:
            return
        from db import workers

        row = self._row
        if self._write(lambda db: workers.gone(db, row)):
            self._row, self._beat_at = None, 0.0

    def _write(self, step: Any) -> bool:
        from db.engine import Database

        db = Database(self._settings.database, wait_s=min(WAIT_S, self._settings.database_wait_s))
        try:
            step(db)
            return True
        except Exception as error:
            log.warning("%s; place %s is not shown", type(error).__name__, self.name)
            return False
        finally:
            db.close()
