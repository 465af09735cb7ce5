"""`medjobs demo --break`: everything that can go wrong while 40 jobs run, and the ledger of what became of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from medjobs.client import Client, Job
from medjobs.stack.embedded import Stack

JOBS = 40

LOAD_S = 24.0
"""How long the jobs should take undisturbed, so that every fault meets running ones."""

LEASE_S = 4.0

LABELS = {"data": "SYNTHETIC"}

SETTINGS = {
    "MEDJOBS_LEASE_INFERENCE_S": str(LEASE_S),
    "MEDJOBS_RENEW_INFERENCE_S": "0.5",
    "MEDJOBS_HEARTBEAT_S": "0.5",
    "MEDJOBS_WORKER_DEAD_S": "3",
    "MEDJOBS_KEEPER_INTERVAL_S": "0.5",
    "MEDJOBS_RESEND_S": "2",
    "MEDJOBS_INFERENCE_THREADS": "8",
}
"""Short leases, so that the rescue can be watched; few jobs per worker, so that some still wait in Redis."""


@dataclass(frozen=True)
class Ledger:
    """What became of every accepted job."""

    accepted: int
    committed: int
    lost: int
    """Accepted, and not `succeeded` at the end."""

    twice: int
    """Jobs with more than one commit in their event log."""

    rescued: int
    """Committed by another attempt after one had ended in a dead or frozen worker."""

    @property
    def balanced(self) -> bool:
        """Whether every accepted job was committed exactly once."""
        return self.accepted == self.committed and self.lost == self.twice == 0


def ledger(jobs: Sequence[Job]) -> Ledger:
    """Count from the jobs' own records: states, attempts and events, asked once more from the server."""
    taken_over = {"worker-lost", "lease-expired"}
    committed = twice = rescued = 0
    for job in jobs:
        commits = sum(event.type == "state" and event.data.get("state") == "succeeded" for event in job.events())
        job.refresh()
        done = job.state == "succeeded" and commits >= 1
        committed += done
        twice += commits > 1
        rescued += done and any(attempt["outcome"] in taken_over for attempt in job.data["attempts"])
    return Ledger(len(jobs), committed, len(jobs) - committed, twice, rescued)


@dataclass(frozen=True)
class Load:
    """What the jobs are: one kind, over the same files again and again."""

    files: Sequence[Path]
    kind: str = "diagnosis"
    params: Mapping[str, Any] | None = None


def break_it(home: Path, load: Load) -> int:
    """Run the faults on a stack of its own; 0 where the ledger balances."""
    from medjobs.commands.demo import devices, headline
    from medjobs.screen import progress_line
    from medjobs.stack.running import running

    headline(f"medjobs demo --break: {JOBS} jobs, and a worker killed, Redis flushed, a worker frozen")
    click.echo(f"Leases are {LEASE_S:.0f} s here (30 s by default), so that the rescue is short to watch.\n")
    first = devices().partition(",")[0]
    with (
        progress_line("Starting") as report,
        running(home, (first, first), SETTINGS, _say_nothing, report) as stack,
        Client(stack.url, stack.home.token.read_text().strip()) as client,
    ):
        report(f"Started Redis, API, two workers ({first}), keeper and Flower.")
        drama = Drama(stack, client)
        jobs = drama.submit(load)
        drama.kill()
        drama.flush()
        drama.freeze()
        drama.finish(jobs)
        found = ledger(jobs)
    _print(found)
    return 0 if found.balanced else 1


class Drama:
    """The faults in order, each told in a line with the seconds since the jobs were submitted."""

    def __init__(self, stack: Stack, client: Client) -> None:
        """On a stack with two inference workers."""
        self.stack, self.client, self.started = stack, client, time.monotonic()

    def tell(self, text: str) -> None:
        """One line of the story: when, how many jobs were done by then, what happened."""
        done = sum(1 for _ in self.client.jobs(state="succeeded", labels=LABELS))
        click.echo(f"{time.monotonic() - self.started:6.1f} s {done:4} done   {text}")

    def at(self, seconds: float) -> None:
        """Wait until so many seconds after the submission, so that each fault has its scene."""
        time.sleep(max(0.0, self.started + seconds - time.monotonic()))

    def submit(self, load: Load) -> list[Job]:
        """Submit the jobs, each with as many images as make the whole last `LOAD_S` undisturbed."""
        files = [self.client.upload(path) for path in load.files]
        self.client.submit(load.kind, files[0], params=load.params).wait(timeout=120)  # until the model is loaded
        trial = self.client.submit(load.kind, *(files * 4), params=load.params).wait(timeout=120)
        per_image = _seconds(trial) / (4 * len(files))
        count = max(1, min(round(LOAD_S / (JOBS * per_image)), 400))
        inputs = (files * (1 + count // len(files)))[:count]
        self.started = time.monotonic()
        jobs = self.client.submit_many(load.kind, [inputs] * JOBS, params=load.params, labels=LABELS)
        self.tell(f"{len(jobs)} jobs accepted (202), each of {count} SYNTHETIC images")
        return jobs

    def kill(self) -> None:
        """kill -9 of the process group of a worker that runs jobs: as if its host had lost power."""
        self.at(2.0)
        worker = self._busy("inference")
        pid = self.stack.children["inference"].pid
        os.killpg(pid, signal.SIGKILL)
        self.tell(f"kill -9 worker {worker['id']} while it runs {worker['running']} jobs")

    def flush(self) -> None:
        """FLUSHALL: every waiting message is gone."""
        from broker.connection import connect
        from broker.health import heads
        from medjobs.environment import redis_url

        self.at(4.0)
        settings = self.stack.settings.model_copy(update={"redis_url": redis_url(self.stack.settings)})
        waiting = sum(head.waiting for head in heads(settings, "inference"))
        with connect(settings.redis_url, 2.0) as redis:
            redis.flushall()
        self.tell(f"FLUSHALL: Redis has forgotten {waiting} waiting messages")

    def freeze(self) -> None:
        """SIGSTOP until the leases have run out and the jobs belong to others; then the zombie wakes up."""
        from db.engine import Database

        self.at(5.0)
        worker = self._busy("inference-2")
        group, held = self.stack.children["inference-2"].pid, list(worker["jobs"])
        database = Database(self.stack.settings.database)
        with database.write():  # SQLite has one writer: frozen in the middle of a write, it would hold up everybody
            os.killpg(group, signal.SIGSTOP)
        database.close()
        self.tell(f"SIGSTOP worker {worker['id']} while it runs {len(held)} jobs")
        try:
            self._until(lambda: all(self._left(job_id, worker["id"]) for job_id in held), 60.0)
            self.tell(f"its {len(held)} leases have run out; the jobs are others' now")
        finally:
            os.killpg(group, signal.SIGCONT)
        self.tell("SIGCONT: the zombie wakes up; what it still says about them is refused")

    def finish(self, jobs: Sequence[Job]) -> None:
        """Wait for the end of every job."""
        for job in jobs:
            job.wait(timeout=300)
        self.tell("every job has ended")

    def _busy(self, child: str) -> dict[str, Any]:
        """The worker of that child, once it runs jobs."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [w for w in self.stack.live() if w["child"] == child and w["jobs"]]
            return bool(found)

        self._until(look, 60.0)
        return found[0]

    def _left(self, job_id: str, worker_id: str) -> bool:
        """Whether the job's newest attempt is another worker's, or it waits or has ended."""
        job = self.client.job(job_id)
        return job.state != "running" or job.data["attempts"][-1]["worker"] != worker_id

    def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError("The demonstration waited too long; see the logs in " + str(self.stack.home.logs))
            time.sleep(0.1)


def _seconds(job: Job) -> float:
    from medjobs.screen import seconds_between

    return max(0.05, seconds_between(job.data["started_at"], job.data["finished_at"]) or 0.05)


def _say_nothing(_: str) -> None:
    """The story has its own lines; the restart of the killed worker is in its log."""


def _print(found: Ledger) -> None:
    click.echo("\nLedger")
    for name, count, meaning in (
        ("accepted", found.accepted, "answered with 202"),
        ("committed", found.committed, "ended as succeeded, with one result"),
        ("lost", found.lost, "accepted and never committed"),
        ("committed twice", found.twice, "more than one commit in the event log"),
        ("rescued", found.rescued, "taken over from a dead or frozen worker, then committed"),
    ):
        click.echo(f"  {name:<16} {count:4}   {meaning}")
    click.echo("\nNothing lost, nothing done twice." if found.balanced else "\nThe ledger does not balance: a defect.")
