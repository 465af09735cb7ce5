"""An hour of everything, and whether memory and connections stay flat meanwhile."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import redis
from sqlalchemy import text

from tests.torture import faults
from tests.torture.orders import Mix
from tests.torture.phases import Phase, everyday
from tests.torture.runner import Torture, Verdict
from tests.torture.scene import Scene
from tests.torture.system import System

SAMPLE_S = 5.0
ROUND_S = 300.0
RATE = 10.0


def gently(scene: Scene) -> None:
    """All faults at random, with time between them to grow old in."""
    faults.everything(replace(scene, slower_s=(8.0, 20.0)))


def soak(
    folder: Path, dialect: str, seed: int, seconds: float, tell: Callable[[Verdict], None]
) -> tuple[list[Verdict], str]:
    """Rounds of five minutes until the time is over: the verdicts, and the table of memory and connections."""
    until = time.monotonic() + seconds
    verdicts: list[Verdict] = []
    with Torture(folder, dialect, seed, print) as torture:
        sampler = Sampler(torture.system)
        while (left := until - time.monotonic()) > 20:
            count = round(min(ROUND_S, left) * RATE)
            name = f"soak-{len(verdicts) + 1}"
            phase = Phase(name, f"all of it, round {len(verdicts) + 1}", gently, everyday(count, Mix(train=0.3)),
                          rate=RATE, settle_s=300, most_messages=None)  # fmt: skip
            verdicts.append(torture.run(phase))
            tell(verdicts[-1])
        return verdicts, sampler.finish()


class Sampler:
    """Looks every few seconds at the memory of each role and at the connections to Redis and PostgreSQL."""

    def __init__(self, system: System) -> None:
        """Starts the thread."""
        self._system = system
        self._seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def finish(self) -> str:
        """A table: the median in the first, the middle and the last third of the time."""
        self._over.set()
        self._thread.join(20)
        lines = ["| what | first third | second | last | last / first |", "|---|---|---|---|---|"]
        for name, points in sorted(self._seen.items()):
            values = [value for _, value in points]
            third = max(1, len(values) // 3)
            parts = [statistics.median(values[n * third : (n + 1) * third] or values) for n in range(3)]
            ratio = f"{parts[2] / parts[0]:.2f}" if parts[0] else "-"
            lines.append(f"| {name} | {' | '.join(f'{part:.0f}' for part in parts)} | {ratio} |")
        return "\n".join(lines)

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_S):
            for name, value in self._look():
                self._seen[name].append((time.time(), value))

    def _look(self) -> Iterator[tuple[str, float]]:
        for role in self._system.roles.values():
            try:
                tree = role.tree()
                if tree:
                    yield f"{role.name}, MiB", sum(one.memory_info().rss for one in tree) / 2**20
                    yield f"{role.name}, open files and sockets", float(sum(one.num_fds() for one in tree))
            except psutil.Error:
                continue
        try:
            with redis.Redis.from_url(self._system.redis.url, socket_timeout=2) as client:
                yield "connections to Redis", float(client.info("clients")["connected_clients"])
                yield "Redis, MiB", client.info("memory")["used_memory"] / 2**20
        except redis.RedisError:
            pass
        if self._system.postgres is not None:
            engine = self._system.engine()
            try:
                with engine.connect() as connection:
                    yield (
                        "connections to PostgreSQL",
                        float(connection.execute(text("SELECT count(*) FROM pg_stat_activity")).scalar_one()),
                    )
            except Exception:
                return
            finally:
                engine.dispose()
