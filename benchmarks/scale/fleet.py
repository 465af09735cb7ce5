"""Jobs per second of 1, 2, 4 and 8 worker processes whose model sleeps, and what a job costs each part of the stack."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import psutil
from sqlalchemy import text

from benchmarks.scale.parts import Parts, running
from db import workers
from db.depths import moment
from tests.services.workers import Process

DATABASE = "fleet"
IDEAL = 16.0
"""Jobs per second and process: medjobs_bench/sleeping.py."""

_DONE = text("SELECT count(*) FROM jobs WHERE finished_at > :since AND finished_at <= :upto")
_WAITING = text("SELECT count(*) FROM jobs WHERE state = 'queued'")


class Window(NamedTuple):
    """What was seen in one stretch of time: jobs per second, processors of the machine in use, and per part the
    processor time of a job in milliseconds."""

    rate: float
    busy: float
    cost: dict[str, float]


class Fleet:
    """Worker processes, as many as wanted."""

    def __init__(self, parts: Parts) -> None:
        """None yet."""
        self.parts = parts
        self.processes: list[Process] = []
        self.keeper = parts.start("keeper", "workers.keeper")

    def grow(self, count: int) -> None:
        """Start or drain supervisors, each with one process, until there are `count` that take jobs."""
        while len(self.processes) > count:
            self.processes.pop().terminate(90)
        while len(self.processes) < count:
            name = f"worker-{len(self.parts.started)}"
            self.processes.append(self.parts.start(name, "workers", "--pool", "inference", "--devices", "cpu"))
        deadline = time.monotonic() + 300
        while sum(worker.state != "starting" and bool(worker.running) for worker in self._live()) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not {count} workers after 300 s; see the logs in {self.parts.folder}")
            time.sleep(0.5)

    def window(self, seconds: float) -> Window:
        """Let them work."""
        before, began, since = self._cpu(), time.monotonic(), moment(self.parts.db)
        psutil.cpu_percent()
        time.sleep(seconds)
        busy = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        upto, after = moment(self.parts.db), self._cpu()
        done = self._count(since, upto)
        if self._waiting() == 0:
            raise RuntimeError("the queue ran dry: submit more jobs")
        cost = {part: 1000 * (after[part] - before[part]) / max(1, done) for part in before}
        return Window(done / (time.monotonic() - began), busy, cost)

    def _live(self) -> list[workers.Worker]:
        return workers.live(self.parts.db, 20.0)

    def _cpu(self) -> dict[str, float]:
        parts = self.parts
        return {
            "workers": sum(parts.cpu(process) for process in self.processes),
            "PostgreSQL": parts.cpu(parts.postgres_pid),
            "Redis": parts.redis_cpu(),
            "keeper": parts.cpu(self.keeper),
        }

    def _count(self, since: float, upto: float) -> int:
        asked = {"since": since, "upto": upto}
        return int(self.parts.db.query(lambda connection: connection.execute(_DONE, asked).scalar_one()))

    def _waiting(self) -> int:
        return int(self.parts.db.query(lambda connection: connection.execute(_WAITING).scalar_one()))


def submitted(parts: Parts, count: int, alone: int = 300) -> dict[str, dict[str, float]]:
    """Submit through the API, in batches of 1,000 and one by one; milliseconds of processor time of a job, by part."""
    found: dict[str, dict[str, float]] = {}
    with parts.api() as (client, process):

        def spent() -> dict[str, float]:
            return {"API": parts.cpu(process), "PostgreSQL": parts.cpu(parts.postgres_pid), "Redis": parts.redis_cpu()}

        inputs = [[{"data": {"number": n}}] for n in range(count)]
        client.submit_many("bench-sleep", inputs[:10])
        for name, jobs in (("1,000 jobs a request", count), ("one job a request", alone)):
            before, began = spent(), time.monotonic()
            if jobs == count:
                client.submit_many("bench-sleep", inputs)
            else:
                for one in inputs[:jobs]:
                    client.submit("bench-sleep", *one)
            after, seconds = spent(), time.monotonic() - began
            found[name] = {part: 1000 * (after[part] - before[part]) / jobs for part in before}
            found[name]["jobs/s"] = jobs / seconds
    return found


def measure(folder: Path, counts: tuple[int, ...], rounds: int, seconds: float) -> str:
    """The report: `rounds` times up and down through `counts`, `seconds` each."""
    needed = int(1.5 * IDEAL * sum(counts) * rounds * (seconds + 20))
    windows: dict[int, list[Window]] = defaultdict(list)
    with running(folder, DATABASE) as parts:
        with parts.db.write() as connection:
            connection.execute(text("TRUNCATE jobs, workers CASCADE"))
        submits = submitted(parts, needed)
        fleet = Fleet(parts)
        for number in range(rounds):
            for count in counts if number % 2 == 0 else counts[::-1]:
                fleet.grow(count)
                windows[count].append(fleet.window(seconds))
    return "\n\n".join([_submits(submits), _rates(windows), _costs(windows[max(counts)])])


def _rates(windows: dict[int, list[Window]]) -> str:
    base = statistics.median(window.rate for window in windows[min(windows)]) / min(windows)
    lines = ["| worker processes | jobs/s (range) | of linear (range) | processors in use |", "|---|---|---|---|"]
    for count, found in sorted(windows.items()):
        rates = sorted(window.rate for window in found)
        shares = [rate / base / count for rate in rates]
        lines.append(
            f"| {count} | {statistics.median(rates):.1f} ({rates[0]:.1f} to {rates[-1]:.1f})"
            f" | {statistics.median(shares):.3f} ({shares[0]:.3f} to {shares[-1]:.3f})"
            f" | {statistics.median(window.busy for window in found):.2f} |"
        )
    return "\n".join(lines)


def _costs(found: list[Window]) -> str:
    lines = ["| part | ms of processor time a job | jobs/s that one core carries |", "|---|---|---|"]
    for part in found[0].cost:
        cost = statistics.median(window.cost[part] for window in found)
        lines.append(f"| {part} | {cost:.2f} | {1000 / max(cost, 1e-3):.0f} |")
    return "\n".join(lines)


def _submits(found: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(found.values())))
    lines = ["| submit, ms a job | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for sort, cost in found.items():
        lines.append(f"| {sort} | " + " | ".join(f"{cost[name]:.2f}" for name in names) + " |")
    return "\n".join(lines)
