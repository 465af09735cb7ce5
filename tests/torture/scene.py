"""What a fault works with, and how it looks at what runs."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from tests.torture.callers import Callers
from tests.torture.ledger import Ledger
from tests.torture.system import System, kill


@dataclass
class Scene:
    """What a fault works with."""

    system: System
    ledger: Ledger
    callers: Callers
    phase: str
    rng: random.Random
    over: threading.Event = field(default_factory=threading.Event)
    """Set when every order is in."""

    slower_s: tuple[float, float] = (0.0, 0.0)
    """Added to both ends of every pause."""

    turn: int | None = None
    """Where a fault is to be injected once: which of its turns."""

    def pauses(self, low: float, high: float, most: int | None = None, least: int = 0) -> Iterator[int]:
        """Wait between `low` and `high` seconds, and count, until it is over and `least` are done (or `most` are)."""
        if self.turn is not None:
            yield self.turn
            return
        low, high, number = low + self.slower_s[0], high + self.slower_s[1], 0
        while most is None or number < most:
            self.over.wait(self.rng.uniform(low, high)) if number >= least else time.sleep(self.rng.uniform(low, high))
            if self.over.is_set() and number >= least:
                return
            yield number
            number += 1

    def note(self, fault: str, at: float, *, lasted: bool = False, pids: tuple[int, ...] = ()) -> None:
        """Write an injection down."""
        self.ledger.inject(self.phase, fault, at, time.time() if lasted else None, pids)

    @contextmanager
    def lasting(self, fault: str) -> Iterator[None]:
        """A fault that lasts as long as the block."""
        at = time.time()
        try:
            yield
        finally:
            self.note(fault, at, lasted=True)


def busy(scene: Scene, role: str) -> bool:
    """Whether the worker of that role runs jobs now."""
    at_work = "SELECT w.pid FROM jobs j JOIN workers w ON w.id = j.worker_id WHERE j.state = 'running'"
    return not scene.system.asked(at_work).isdisjoint(process.pid for process in scene.system.roles[role].tree())


def running(scene: Scene, kind: str) -> set[str]:
    """Ids of the jobs of a kind that run now."""
    return scene.system.asked("SELECT id FROM jobs WHERE state = 'running' AND kind = :kind", kind=kind)


def unfinished(scene: Scene) -> bool:
    """Whether jobs wait or run."""
    return bool(scene.system.asked("SELECT id FROM jobs WHERE state IN ('queued', 'running') LIMIT 1"))


def stop_outside_a_write(scene: Scene, tree: list[psutil.Process]) -> None:
    """SQLite has one writer: a process stopped in the middle of a write holds up everybody until it is continued or
    killed (docs/operations.md), which is another fault than this one. So the lock is ours while they are stopped."""
    if scene.system.postgres is not None:
        kill(tree, signal.SIGSTOP)
        return
    connection = sqlite3.connect(scene.system.home / "medjobs.db", timeout=30, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    kill(tree, signal.SIGSTOP)
    connection.execute("ROLLBACK")
    connection.close()


def tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]
