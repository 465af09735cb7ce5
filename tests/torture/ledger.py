"""What the outside knows: which jobs were submitted and what must come of each, which faults were injected, who called.

Append-only: one JSON line for each thing, written before it is acted upon, so that a torture that is itself cut off can
be looked at afterwards.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Order:
    """One submission and what must come of it. Computed here, by the standard library, never asked of the system."""

    kind: str
    body: Mapping[str, Any]
    """What POST /v1/jobs gets."""

    items: tuple[Mapping[str, Any], ...] | None
    """The entries of the result; None: it fails."""

    artifacts: Mapping[str, bytes] | None = field(default_factory=dict)
    """The files that it makes; None: whichever, as long as each is there and has its size."""

    ends: str = "succeeded"
    code: str | None = None
    """The error's code, of a job that must fail."""

    uploads: tuple[bytes, ...] = ()
    """The files that it names."""

    tolerance: float = 0.0
    """By how much a number may differ."""


@dataclass
class Entry:
    """What happened to an order, seen from outside."""

    key: str
    phase: str
    order: Order
    intended_at: float
    ids: list[str] = field(default_factory=list)
    """The id in each 202; all must be equal."""

    accepted_at: float | None = None
    cancelled: bool = False
    """Whether a cancel was accepted, so that it may end as cancelled."""

    refused: str | None = None


@dataclass(frozen=True)
class Injection:
    """One fault. `until`: when it was taken back, for a fault that lasts. `pids`: the processes that it killed."""

    phase: str
    fault: str
    at: float
    until: float
    pids: tuple[int, ...] = ()


class Ledger:
    """Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.entries: dict[str, Entry] = {}
        self.injections: list[Injection] = []
        self.calls: dict[str, list[tuple[str, str]]] = defaultdict(list)
        """Job id -> (webhook-id, state) of each call that came."""

        self._lock = threading.Lock()
        self._file = path.open("a")

    def intend(self, key: str, phase: str, order: Order) -> Entry:
        """Before the first POST."""
        entry = Entry(key, phase, order, time.time())
        with self._lock:
            self.entries[key] = entry
        self._write(
            "intend", key=key, phase=phase, kind=order.kind, body=order.body, items=order.items, ends=order.ends
        )
        return entry

    def accept(self, entry: Entry, job_id: str) -> None:
        """A 202 came."""
        entry.ids.append(job_id)
        entry.accepted_at = entry.accepted_at or time.time()
        self._write("accept", key=entry.key, job=job_id)

    def refuse(self, entry: Entry, why: str) -> None:
        """An answer that no retry can mend."""
        entry.refused = why
        self._write("refuse", key=entry.key, why=why)

    def inject(self, phase: str, fault: str, at: float, until: float | None = None, pids: tuple[int, ...] = ()) -> None:
        """A fault was injected."""
        with self._lock:
            self.injections.append(Injection(phase, fault, at, until or at, pids))
        self._write("inject", phase=phase, fault=fault, at=at, until=until, pids=pids)

    def called(self, job_id: str, webhook_id: str, state: str) -> None:
        """A webhook came."""
        with self._lock:
            self.calls[job_id].append((webhook_id, state))
        self._write("called", job=job_id, webhook=webhook_id, state=state)

    def of(self, phase: str) -> list[Entry]:
        """The entries of one phase."""
        with self._lock:
            return [entry for entry in self.entries.values() if entry.phase == phase]

    def injected(self, phase: str) -> list[Injection]:
        """The faults of one phase."""
        with self._lock:
            return [one for one in self.injections if one.phase == phase]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, what: str, **fields: Any) -> None:
        line = json.dumps({"t": round(time.time(), 3), "what": what, **fields}, default=str)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
