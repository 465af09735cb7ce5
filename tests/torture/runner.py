"""Runs phases on one stack, waits until all that was accepted has ended, and asks the judge."""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, bindparam, text

from storage.files import Storage
from tests.torture import faults
from tests.torture.callers import Callers, Receiver
from tests.torture.judge import DOUBLED, FINAL, LOST, WRONG, Held, Violation, judge, read, strangers
from tests.torture.ledger import Entry, Ledger
from tests.torture.orders import Mix, Orders
from tests.torture.phases import Phase, everyday
from tests.torture.scene import Scene
from tests.torture.system import System

SLOW, HARNESS = "slow", "harness"
"""Further sorts of violation: too late, and a fault that could not be injected."""


@dataclass(frozen=True)
class Verdict:
    """What came of one phase."""

    phase: str
    title: str
    dialect: str
    injected: int
    jobs: int
    violations: Sequence[Violation]
    recoveries: Sequence[float]
    """Seconds from a kill until the job was free again; from the end of an outage until the next job began."""

    messages: float
    """Messages that Redis got, per job; below 0 where it was restarted, and had forgotten."""

    attempts: float
    """Attempts per job."""

    seconds: float
    notes: Sequence[str] = field(default=())

    def count(self, *sorts: str) -> int:
        """How many jobs a sort of violation befell."""
        return len({one.key for one in self.violations if one.sort in sorts})

    @property
    def lost(self) -> int:
        """Accepted and never committed."""
        return self.count(LOST)

    @property
    def doubled(self) -> int:
        """Committed twice, or two jobs for one order."""
        return self.count(DOUBLED)


class Torture:
    """One stack and one ledger; `run` may be called for one phase after another."""

    def __init__(self, folder: Path, dialect: str, seed: int, say: Callable[[str], None], **settings: str) -> None:
        """`settings`: MEDJOBS_* without the prefix, of every process."""
        self.folder, self.dialect, self.seed, self._say = folder, dialect, seed, say
        folder.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.receiver = Receiver(self.ledger)
        self.system = System(folder, dialect, **settings)
        self.engine: Engine = self.system.engine()

    def __enter__(self) -> Torture:
        self.receiver.__enter__()
        self.system.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()
        self.system.stop()
        self.receiver.__exit__(None, None, None)
        self.ledger.close()

    def run(self, phase: Phase) -> Verdict:
        """Submit under the fault, let it settle, judge."""
        if phase.small_disk and not self.system.mount():
            return self._not_run(phase, "not run: a small disk needs the right to mount one")
        if phase.faked:
            self.system.fake_clock(*phase.faked)
            self._until(self.system.answers, 60)
        try:
            return self._run(phase)
        finally:
            if phase.small_disk:
                self.system.unmount()
            if phase.faked:
                self.system.fake_clock()
                self._until(self.system.answers, 60)

    def _run(self, phase: Phase) -> Verdict:
        begun = time.monotonic()
        # A phase is the same alone and among others: its seed is its own.
        seed = self.seed + zlib.crc32(f"{phase.name} {self.dialect}".encode())
        shares = {"replays": phase.replays, "reuploads": phase.reuploads}
        callers = Callers(self.system.url, self.system.token, self.ledger, seed, **shares)
        scene = Scene(self.system, self.ledger, callers, phase.name, random.Random(seed))
        orders = Orders(seed, self.receiver.url)
        if phase.learn:
            self._learn(callers, orders)
        sent = _pushes(self.system)
        failures: list[Violation] = []
        harm = threading.Thread(target=self._harm, args=(phase, scene, failures), name="fault")
        waiting = callers.submit_many(phase.name, iter(phase.backlog(orders))) if phase.backlog is not None else []
        harm.start()
        entries = waiting + callers.submit(phase.name, iter(phase.orders(orders)), phase.rate)
        scene.over.set()
        harm.join()
        healed = time.time()
        tail = everyday(phase.tail, Mix(slow_s=(0.2,)))(orders)
        entries += callers.submit(phase.name, tail, 20.0, first=len(entries))
        late = self._settle(entries, phase.settle_s)
        messages = (_pushes(self.system) - sent) / max(1, len(entries))
        if phase.tail:
            failures += self._idle(phase, healed)
        self._callbacks(entries)
        callers.close()
        failures += self._gentle(phase)
        return self._verdict(phase, entries, messages, late, failures, time.monotonic() - begun)

    def _learn(self, callers: Callers, orders: Orders) -> None:
        """Ask for each image once while nothing goes wrong."""
        for content in orders.images:
            (entry,) = callers.submit(f"learning-{len(orders.learned)}", iter([orders.diagnosis(content)]), 1.0)
            self._settle([entry], 120)
            ((_, result),) = read(self.engine, entry.ids)[entry.ids[0]].results
            orders.learned[content] = tuple(result["items"])

    def _harm(self, phase: Phase, scene: Scene, failures: list[Violation]) -> None:
        try:
            phase.fault(scene)
        except Exception as error:
            failures.append(Violation(HARNESS, phase.name, f"the fault failed: {type(error).__name__}: {error}"))

    def _gentle(self, phase: Phase) -> list[Violation]:
        """A fault that was not injected proves nothing."""
        seen = {one.fault for one in self.ledger.injected(phase.name)}
        missing = [name for name in phase.must if name not in seen]
        if phase.fault is not faults.nothing and not seen:
            missing.append("any fault")
        return [Violation(HARNESS, name, f"{phase.name}: was never injected") for name in missing]

    def _idle(self, phase: Phase, healed: float) -> list[Violation]:
        """Every worker that lives has begun a job within a minute of the last fault."""
        asked = text(
            "SELECT w.id, min(a.started_at) AS first FROM workers w LEFT JOIN attempts a"
            " ON a.worker_id = w.id AND a.started_at > :healed"
            " WHERE w.gone_at IS NULL AND w.heartbeat_at > :lately AND w.pool = 'inference' GROUP BY w.id"
        )
        with self.engine.connect() as connection:
            rows = connection.execute(asked, {"healed": healed, "lately": time.time() - 5}).all()
        return [
            Violation(SLOW, row.id, f"{phase.name}: took no job within a minute")
            for row in rows
            if row.first is None or row.first - healed > 60
        ]

    def _not_run(self, phase: Phase, why: str) -> Verdict:
        return Verdict(phase.name, phase.title, self.dialect, 0, 0, (), (), 0.0, 0.0, 0.0, (why,))

    def _settle(self, entries: Sequence[Entry], most_s: float) -> list[str]:
        """Wait until every accepted job has ended; the keys of those that have not."""
        waiting = {entry.ids[0]: entry for entry in entries if entry.ids}
        deadline = time.monotonic() + most_s
        while waiting and time.monotonic() < deadline:
            try:
                states = self._states(list(waiting))
            except Exception:
                time.sleep(0.5)
                continue
            waiting = {one: entry for one, entry in waiting.items() if states.get(one) not in FINAL}
            time.sleep(0.2)
        return [entry.key for entry in waiting.values()]

    def _states(self, ids: Sequence[str]) -> dict[str, str]:
        asked = text("SELECT id, state FROM jobs WHERE id IN :ids").bindparams(bindparam("ids", expanding=True))
        with self.engine.connect() as connection:
            return {
                row.id: row.state
                for first in range(0, len(ids), 500)
                for row in connection.execute(asked, {"ids": list(ids[first : first + 500])})
            }

    def _callbacks(self, entries: Sequence[Entry]) -> None:
        """Webhooks come a little later than the end; a keeper that died with one in hand gives it back later still."""
        ids = [entry.ids[0] for entry in entries if entry.ids and "callback_url" in entry.order.body]
        self._until(lambda: all(self.ledger.calls.get(one) for one in ids), 40)

    def _verdict(
        self,
        phase: Phase,
        entries: Sequence[Entry],
        messages: float,
        late: Sequence[str],
        failures: Sequence[Violation],
        seconds: float,
    ) -> Verdict:
        self._sweep()
        held = read(self.engine, [entry.ids[0] for entry in entries if entry.ids])
        files, commits = self.system.home / "files", self.system.seam / "commits"
        violations = [*failures, *judge(self.ledger, phase.name, held, files, commits)]
        if not phase.small_disk:  # its disk hides what lies on the other
            violations += strangers(self.engine, self.ledger, files)
        notes = [f"{len(late)} jobs had not ended after {phase.settle_s:.0f} s"] if late else []
        if phase.most_messages is not None and not 0 <= messages <= phase.most_messages:
            violations.append(Violation("messages", phase.name, f"{messages:.2f} messages per job"))
        recoveries = self._recoveries(phase.name, held)
        if phase.recovery_s is not None and recoveries and recoveries[-1] > phase.recovery_s:
            violations.append(Violation(SLOW, phase.name, f"a job was free again after {recoveries[-1]:.1f} s"))
        if phase.apart_s is not None:
            violations += _apart(entries, held, phase.apart_s)
        if phase.small_disk:
            violations += _names_the_disk(held)
        if phase.backlog is not None:
            found, note = _overtakes(entries, held)
            violations += found
            notes.append(note)
        injections = self.ledger.injected(phase.name)
        attempts = sum(len(job.attempts) for job in held.values()) / max(1, len(held))
        return Verdict(
            phase.name, phase.title, self.dialect, len(injections), len(entries), violations,
            recoveries, messages, attempts, seconds, notes,
        )  # fmt: skip

    def _sweep(self) -> None:
        """One sweep of the keeper over the folders of jobs, now and not within the minute."""
        from broker.dispatch import Dispatcher
        from db.engine import Database
        from workers.sweeps import Sweeps

        database, settings = Database(self.system.database_url), self.system.settings
        sweeps = Sweeps(database, Storage(settings.storage), Dispatcher(settings), settings)
        folders = len(Storage(settings.storage).folders_of_jobs())
        for _ in range(folders // 500 + 1):
            sweeps.sweep_folders()
        database.close()

    def _recoveries(self, phase: str, held: Mapping[str, Held]) -> list[float]:
        """See `Verdict.recoveries`."""
        killed = [(one.at, set(one.pids)) for one in self.ledger.injected(phase) if one.pids]
        with self.engine.connect() as connection:
            pids = {row.id: row.pid for row in connection.execute(text("SELECT id, pid FROM workers"))}
        took: list[float] = []
        for job in held.values():
            for one in job.attempts:
                if one["outcome"] in ("worker-lost", "lease-expired") and one["ended_at"] is not None:
                    deaths = [at for at, gone in killed if pids.get(one["worker_id"]) in gone]
                    died = [at for at in deaths if one["started_at"] <= at <= one["ended_at"]]
                    took += [one["ended_at"] - at for at in died[:1]]
        starts = sorted(attempt["started_at"] for job in held.values() for attempt in job.attempts)
        for fault in self.ledger.injected(phase):
            if fault.until > fault.at:
                took += [start - fault.until for start in starts if start > fault.until][:1]
        return sorted(took)

    def _until(self, reached: Callable[[], Any], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if reached():
                return True
            time.sleep(0.2)
        return False


def _apart(entries: Sequence[Entry], held: Mapping[str, Held], most_s: float) -> list[Violation]:
    """Jobs that share a worker with what kills it are soon begun again."""
    found = []
    for entry in entries:
        job = held.get(entry.ids[0]) if entry.ids else None
        pairs = list(zip(job.attempts, job.attempts[1:], strict=False)) if job and job.state == "succeeded" else []
        waits = [after["started_at"] - before["ended_at"] for before, after in pairs]
        if waits and max(waits) > most_s:
            found.append(Violation(SLOW, entry.key, f"waited {max(waits):.1f} s between two attempts"))
    return found


def _names_the_disk(held: Mapping[str, Held]) -> list[Violation]:
    """Attempts were retried for want of room, and say which disk it was."""
    errors = [str(one["error"]) for job in held.values() for one in job.attempts if one["outcome"] == "retried"]
    if any("storage-unavailable" in error and "disk" in error for error in errors):
        return []
    return [Violation(WRONG, "disk", f"{len(errors)} attempts were retried, and none names the disk")]


def _overtakes(entries: Sequence[Entry], held: Mapping[str, Held]) -> tuple[list[Violation], str]:
    """Urgent jobs do not wait for the backlog, nor does anything of it wait for ever."""
    known = [(entry.order.body["priority"], entry.ids[0]) for entry in entries if entry.ids]
    jobs = [(priority, held[one]) for priority, one in known if one in held]
    waits = {9: [0.0], 3: [0.0], 0: [0.0]}
    for priority, job in jobs:
        waits[priority] += [job.attempts[0]["started_at"] - job.created_at] if job.attempts else []
    most = max(waits[9])
    note = f"urgent jobs began within {most:.1f} s at most, while the backlog took {max(waits[3] + waits[0]):.0f} s"
    late = [] if most < max(waits[3]) / 3 else [Violation(WRONG, "priority", note)]
    return late, note


def _pushes(system: System) -> float:
    """LPUSH commands that this Redis has served: what was sent, as Redis itself counts it."""
    import redis

    try:
        with redis.Redis.from_url(system.redis.url, socket_timeout=5) as client:
            stats: Any = client.info("commandstats")
            return int(stats.get("cmdstat_lpush", {}).get("calls", 0))
    except redis.RedisError:
        return float("nan")
