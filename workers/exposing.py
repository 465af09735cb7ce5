"""Serves the metrics of a process, or of a supervisor with all its workers, at one port.

The workers of a supervisor write theirs into files that prometheus_client maps into memory; the supervisor reads them.
A file bears the number of the worker and not its pid, so that its successor goes on counting in it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own environment variable: where the files are. It is looked at when that is imported."""

NUMBER = "MEDJOBS_METRICS_NUMBER"
"""Environment variable by which a supervisor tells a worker its number."""


SUPERVISING = CollectorRegistry()
RESTARTS = Counter(
    "medjobs_worker_restarts", "Worker processes that ended and were started again.", ["pool", "device"],
    registry=SUPERVISING,
)  # fmt: skip


class BadBind(ValueError):
    """The address cannot be listened on; the text says why."""


def join() -> None:
    """In a worker under a supervisor that serves metrics: count in the file of our number. Before workers.metrics is
    imported, for instruments are made then."""
    if FOLDER in os.environ and NUMBER in os.environ:
        number = os.environ[NUMBER]
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: number)  # type: ignore[no-untyped-call]


def serve(bind: str, registry: CollectorRegistry, shared: Path | None = None) -> None:
    """Answer at `HOST:PORT` with what `registry` holds and the files in `shared`; raises `BadBind`."""
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadBind(f"metrics: give HOST:PORT, for example 127.0.0.1:9100; not {bind!r}")
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nothing asks for
    if shared is not None:
        MultiProcessCollector(registry, str(shared))  # type: ignore[no-untyped-call]
    try:
        start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise BadBind(f"metrics: {bind}: {error.strerror}; choose another port, or none") from None


PREFIX, FRESH_S = "medjobs-counts-", 60.0
"""A folder younger than this may be one that is just being made."""


class Shared:
    """The folder in which the workers of one supervisor count; it ends with it."""

    def __init__(self) -> None:
        """A new one: totals of an earlier supervisor are its own. Those of supervisors that were killed are deleted."""
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._held = _locked(self.path)  # until this process ends, however it does
        for other in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            _delete_where_left(other)

    def environment(self, number: int) -> dict[str, str]:
        """What a worker has to be told."""
        return {FOLDER: str(self.path), NUMBER: str(number)}

    def ended(self, number: int) -> None:
        """That worker is gone: its gauges say nothing any more, its counters stand."""
        mark_process_dead(number, str(self.path))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder; None where another process does, or it is not ours to open."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held


def _delete_where_left(folder: Path) -> None:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    if found.st_uid == os.getuid() and time.time() - found.st_mtime > FRESH_S:
        held = _locked(folder)
        if held is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)
