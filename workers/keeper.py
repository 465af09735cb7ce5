"""The keeper: `python -m workers.keeper`. It keeps the promise that nothing is lost; see workers/sweeps.py.

A sweep that fails (a database or a Redis that is away) is tried again at its next turn. Any number may run; none leads.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from broker.dispatch import Dispatcher
from db.engine import Database
from jobs.errors import DatabaseUnavailable, StorageUnavailable
from jobs.settings import Settings
from storage.files import Storage
from workers import keeper_metrics as metrics
from workers.blame import where
from workers.starting import clean_path, read_settings, serve_metrics, set_up_logging
from workers.sweeps import Sweeps
from workers.webhooks import Webhooks

log = logging.getLogger("medjobs.keeper")


class Keeper:
    """Two threads: one for the sweeps in turn, one for webhooks, whose targets may be slow."""

    def __init__(self, settings: Settings) -> None:
        """Opens nothing yet."""
        self._stopping = threading.Event()
        self._db = Database(settings.database, pool_size=4, wait_s=settings.database_wait_s)
        sweeps = Sweeps(self._db, Storage(settings.storage, settings.home / "cache"), Dispatcher(settings), settings)
        self._webhooks = Webhooks(self._db, settings)
        often = settings.keeper_interval_s
        self._every: dict[Callable[[], object], float] = {
            sweeps.send_unsent: often,
            sweeps.expire_leases: often,
            sweeps.send_lost: min(5.0, settings.resend_s / 2),
            sweeps.leave_absent: min(10.0, settings.worker_dead_s),
            sweeps.boost: min(30.0, settings.age_boost_s / 10),
            sweeps.forget_inputs: settings.sweep_s,
            sweeps.purge_records: settings.sweep_s,
            sweeps.sweep_blobs: settings.sweep_s,
            sweeps.sweep_folders: settings.sweep_s,
            sweeps.tidy: 60 * settings.sweep_s,
        }
        self._often = often
        self._turn = settings.home / "keeper.turn"
        for sweep in (*self._every, self._webhooks.deliver):
            for why in (DatabaseUnavailable.code, StorageUnavailable.code, "error"):
                metrics.SWEEP_FAILURES.labels(getattr(sweep, "__name__", "sweep"), why)  # begins at 0
        self._webhook_s = settings.webhook_timeout_s

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        calls = threading.Thread(target=self._loop, args=({self._webhooks.deliver: self._often},), daemon=True)
        calls.start()
        log.info("the keeper watches")
        self._loop(self._every, self._turned)
        calls.join(self._webhook_s)
        self._webhooks.close()
        self._db.close()
        return 0

    def _turned(self) -> None:
        """Leave a sign of life for `medjobs alive keeper`. A full disk must not end the sweeps."""
        with suppress(OSError):
            self._turn.touch()

    def _loop(self, every: dict[Callable[[], object], float], turned: Callable[[], None] = lambda: None) -> None:
        due = dict.fromkeys(every, 0.0)
        while not self._stopping.is_set():
            for sweep, at in due.items():
                if time.monotonic() >= at and not self._stopping.is_set():
                    self._try(sweep)
                    due[sweep] = time.monotonic() + every[sweep]
            turned()
            self._stopping.wait(min(self._often, 1.0))

    def _try(self, sweep: Callable[[], object]) -> None:
        name = getattr(sweep, "__name__", "sweep")
        try:
            with metrics.SWEEP.labels(name).time():
                sweep()
        except (DatabaseUnavailable, StorageUnavailable) as error:
            metrics.SWEEP_FAILURES.labels(name, error.code).inc()
            log.warning("%s: %s", name, error.code)
        except Exception as error:
            metrics.SWEEP_FAILURES.labels(name, "error").inc()
            log.error("%s in %s: %s", type(error).__name__, name, where(error))


def main(arguments: list[str] | None = None) -> int:
    """Read the settings from the environment and run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workers.keeper", description="Keep the promise.")
    parser.add_argument("--metrics", help="HOST:PORT for Prometheus; none by default")
    settings = read_settings()
    bind = parser.parse_args(arguments).metrics or settings.metrics_bind
    settings.home.mkdir(parents=True, exist_ok=True)
    os.chdir(settings.home)
    clean_path()
    set_up_logging(settings)
    if bind:
        serve_metrics(bind, metrics.REGISTRY)
    return Keeper(settings).run()


if __name__ == "__main__":
    sys.exit(main())
