"""Jobs per second from the first submit to the last commit, and latencies of an idle and of a busy stack."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from medjobs.client import Client

POLL_S = 0.25
"""Looking more often would cost the stack what is to be measured; the end is read from the jobs, not from the clock."""


def ended(client: Client, label: str, count: int, deadline_s: float = 900.0) -> float:
    """When the last of `count` jobs with the label was committed, seconds since 1970; raises if one did not succeed."""
    deadline = time.monotonic() + deadline_s
    named = {"label.run": label, "limit": 1}
    while any(client.get("/v1/jobs", {**named, "state": state})["jobs"] for state in ("queued", "running")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"jobs of {label} still wait")
        time.sleep(POLL_S)
    jobs = [job.data for job in client.jobs(labels={"run": label})]
    succeeded = [job for job in jobs if job["state"] == "succeeded"]
    if len(succeeded) != count:
        raise RuntimeError(f"{len(succeeded)} of {count} jobs succeeded")
    return max(datetime.fromisoformat(job["finished_at"]).timestamp() for job in succeeded)


def submitted(client: Client, kind: str, inputs: Sequence[Sequence[Any]], label: str, **options: Any) -> float:
    """Jobs per second for one job per entry of `inputs`, by batch submits of 1,000, first submit to last commit."""
    start = time.time()
    client.submit_many(kind, inputs, labels={"run": label}, **options)
    return len(inputs) / (ended(client, label, len(inputs)) - start)


def uploaded(client: Client, paths: Sequence[Path]) -> list[str]:
    """File ids; the upload is not part of any rate."""
    return [client.upload(path) for path in paths]


def idle(client: Client, kind: str, inputs: Sequence[Any], **options: Any) -> list[float]:
    """Seconds from one submit to its result, one after the other."""
    seconds = []
    for one in inputs:
        start = time.perf_counter()
        job = client.submit(kind, one, **options)
        job.wait()
        job.result()
        seconds.append(time.perf_counter() - start)
    return seconds


def knocking(client: Client, token: str, waiters: int, streams: int, submits: int) -> list[float]:
    """Seconds per submit while `waiters` callers hold ?wait=30 and `streams` read events of a job that waits."""
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    held = client.submit("bench-noop", {"data": {"number": 0}}, run_after=later)
    command = [sys.executable, "-m", "benchmarks.crowd", held.id, str(waiters), str(streams)]
    crowd = subprocess.Popen(command, env={**os.environ, "MEDJOBS_URL": client.url, "MEDJOBS_TOKEN": token})
    try:
        time.sleep(5.0)  # until everybody has come
        seconds = []
        for number in range(submits):
            start = time.perf_counter()
            client.submit("bench-noop", {"data": {"number": number}})
            seconds.append(time.perf_counter() - start)
    finally:
        crowd.kill()
        crowd.wait()
        held.cancel()
    return seconds


def percentiles(seconds: Sequence[float]) -> str:
    """p50 and p99 in milliseconds."""
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return f"p50 {p50:6.1f} ms   p99 {p99:6.1f} ms"
