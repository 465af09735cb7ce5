"""The embedded stack as a user starts it, in a folder of its own, with the benchmark's kinds installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from medjobs.client import Client

KINDS = Path(__file__).parent / "kinds"


@contextmanager
def running(**environment: str) -> Iterator[tuple[Client, str, psutil.Process]]:
    """`medjobs up` on free ports; a client for it, its token, its parent process. Stopped when left."""
    with tempfile.TemporaryDirectory(prefix="mj") as home:
        ours = {"MEDJOBS_HOME": home, "PYTHONPATH": os.pathsep.join([str(KINDS), str(Path(__file__).parents[1])])}
        command = [sys.executable, "-m", "medjobs", "up", "--port", "0", "--flower-port", "0", "--devices", "cpu"]
        log = Path(home) / "up.log"
        with log.open("wb") as out:
            up = subprocess.Popen(command, env={**os.environ, **ours, **environment}, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 120
            while b"stop" not in log.read_bytes().lower():
                if up.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"medjobs up did not start:\n{log.read_text()}")
                time.sleep(0.1)
            url, token = ((Path(home) / name).read_text().strip() for name in ("url", "token"))
            with Client(url, token) as client:
                yield client, token, psutil.Process(up.pid)
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(60)


def memory(parent: psutil.Process) -> float:
    """Proportional set size of the process and all below it, in GiB: shared pages are counted once."""
    processes = [parent, *parent.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes) / 2**30
