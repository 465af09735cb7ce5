"""Does each guard matter? One is switched off, its fault is injected, and the judge has to notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.torture import faults
from tests.torture.ledger import Order
from tests.torture.orders import Mix, Orders
from tests.torture.phases import Phase, everyday, for_zombies
from tests.torture.runner import Torture, Verdict
from tests.torture.scene import Scene
from tests.torture.system import kill

SHORT = Mix(steps=0)
SLOW = Mix(steps=0, inline=0, scale=0, slow_s=(2.0,))
"""More than the workers can do, so that there is a queue to flush."""


def kill_hosts(scene: Scene) -> None:
    """kill -9 of a worker with its supervisor: nobody is left who saw it die, so only the lease can tell."""
    for number in scene.pauses(1.5, 3):
        tree = scene.system.roles[("inference-1", "inference-2")[number % 2]].tree()
        scene.note("kill -9 all", time.time(), pids=tuple(kill(tree)))


def same_bytes(orders: Orders) -> Iterator[Order]:
    """One file, read by every job and uploaded by every caller at the same time."""
    for _ in range(250):
        yield orders.of_file(orders.files[0], Mix(callback=0), sleep_s=0.0)


GUARDS: dict[str, Phase] = {
    "fence": Phase("fence", "a worker stopped beyond its lease", faults.zombies, for_zombies, rate=2, settle_s=40,
                   most_messages=None),
    "lease": Phase("lease", "a worker and its supervisor killed", kill_hosts,
                   everyday(250, Mix(steps=0, slow_s=(0.2, 0.5))), rate=15, settle_s=30),
    "outbox": Phase("outbox", "FLUSHALL", faults.flush, everyday(250, SLOW), rate=25, settle_s=20,
                    most_messages=None),
    "idempotency": Phase("idempotency", "API processes killed, callers repeat", faults.kill_api, everyday(150, SHORT),
                         rate=15, replays=0.3, settle_s=40),
    "atomic": Phase("atomic", "bytes are written while they are read", faults.nothing, same_bytes, rate=25,
                    settle_s=40, reuploads=1.0),
}  # fmt: skip
"""Guard -> the fault that it is there for."""


SETTINGS: dict[str, dict[str, str]] = {"fence": {"WORKER_DEAD_S": "12"}}
"""A frozen worker that counts as dead leaves suspects behind, which run alone and later than it sleeps. So it lives."""

SORTS: dict[str, set[str]] = {
    "fence": {"fence", "doubled", "files"},
    "lease": {"lost"},
    "outbox": {"lost"},
    "idempotency": {"doubled"},
    "atomic": {"wrong", "files", "lost"},
}
"""As what the judge has to notice that a guard is missing; anything else may be the weather."""


def noticed(guard: str, verdict: Verdict) -> bool:
    """Whether the judge saw what it had to see."""
    return bool(SORTS[guard] & {violation.sort for violation in verdict.violations})


def mutate(folder: Path, seed: int, say: Callable[[str], None]) -> Iterator[tuple[str, Verdict, Verdict]]:
    """Each guard on a stack of its own: what the judge found with it, and then without it."""
    for guard, phase in GUARDS.items():
        with Torture(folder / guard, "sqlite", seed, say, **SETTINGS.get(guard, {})) as torture:
            sound = torture.run(replace(phase, name=f"with-{guard}", settle_s=120))
            torture.system.switch(guard, off=True)
            yield guard, sound, torture.run(replace(phase, name=f"without-{guard}"))
