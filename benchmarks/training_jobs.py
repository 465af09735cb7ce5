"""`python -m benchmarks.training_jobs`: trainings as jobs of a stack: what a person waits for, and what kills cost.

shown: seconds from the start of the default diagnosis training to the first point of a curve (asked: 20), and the time
left that was said after the first tenth, as a share of what then passed (asked: within 30 %).
cancel: seconds from the cancel of that training to its end (asked: 10).
kills: a small training once undisturbed, then again and again with its process killed by SIGKILL at a random moment:
how many ended with the same weights, as the one version of their name, with curves in order.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import stack
from medjobs.client import Client, Event, Job
from tests.services.home import long_child

FAST = {"MEDJOBS_LEASE_LONG_S": "6", "MEDJOBS_RENEW_LONG_S": "1", "MEDJOBS_CONTROL_S": "0.5"}
"""A dead process is noticed within seconds instead of two minutes; nothing else differs from the default."""

SMALL = {"recipe": "cnn-basic", "overrides": {"epochs": 6, "baseline_epochs": 1}, "seed": 0}
LEFT = re.compile(r", (\d+) s left")


def a_set(client: Client, path: Path) -> str:
    """The published set as a data set of the stack; its name."""
    options = {"classes": ["malignant", "normal or benign"], "positive": "malignant"}
    found = client.datasets.add("published", "medmnist", str(path), options=options).wait()
    if found.state != "ready":
        sys.exit(f"The data set was rejected: {found.problems}")
    return "published"


def shown(client: Client, data: str, minutes: float) -> None:
    """Watch the default training."""
    job = client.train("diagnosis", data, minutes=minutes, seed=0, name="shown")
    at: dict[str, float] = {}
    said = 0.0
    for event in watched(job):
        if event.type == "state" and event.data["state"] == "running":
            at.setdefault("start", time.monotonic())
        if event.type == "metric":
            at.setdefault("point", time.monotonic())
        left = LEFT.search(event.data["message"]) if event.type == "progress" else None
        if left and "tenth" not in at and event.data["fraction"] >= 0.1:
            at["tenth"], said = time.monotonic(), float(left[1])
    end = time.monotonic()
    show(f"diagnosis, --minutes {minutes:g}: minutes taken", f"{(end - at['start']) / 60:.2f}")
    show("first point of a curve after the start, s (asked 20)", f"{at['point'] - at['start']:.1f}")
    was = end - at["tenth"]
    show(f"time left after the first tenth: said {said:.0f} s, was {was:.0f} s", f"{said / was:.2f}")


def show(what: str, figure: str) -> None:
    """One line of the table, at once."""
    print(f"  {what:<68} {figure}", flush=True)


def watched(job: Job) -> Any:
    """Its events; the program ends where the job did not succeed."""
    last: Event | None = None
    for last in job.events():
        yield last
    if last is None or last.data.get("state") != "succeeded":
        sys.exit(f"{job} ended otherwise: {job.refresh().data['error']}")


def cancel(client: Client, data: str) -> None:
    """Cancel a training in the middle of its steps."""
    job = client.train("diagnosis", data, minutes=10, name="cancelled")
    while job.refresh().data["progress"]["fraction"] < 0.02:
        time.sleep(0.1)
    began = time.monotonic()
    job.cancel().wait(60)
    show(f"cancel to {job.state}, s (asked 10)", f"{time.monotonic() - began:.1f}")


def kills(client: Client, parent: psutil.Process, data: str, count: int, draw: random.Random) -> None:
    """Kill the process of a training at `count` random moments, one training each."""
    whole = client.train("diagnosis", data, name="whole", **SMALL).wait()
    wanted = weights(client, "whole")
    same = 0
    for number in range(count):
        name, moment = f"killed-{number}", draw.uniform(0.02, 0.95)
        job = client.train("diagnosis", data, name=name, **SMALL)
        while job.refresh().data["progress"]["fraction"] < moment and not job.ended:
            time.sleep(0.02)
        long_child(parent).kill()
        job.wait(600)
        versions = [one["version"] for one in client.models.get(name)["versions"]] if job.state == "succeeded" else []
        right = versions == [1] and weights(client, name) == wanted and in_order(job)
        same += right
        verdict = "the same" if right else "NOT THE SAME"
        print(f"    killed at {moment:.3f}: {job.state}, {len(job.data['attempts'])} attempts, {verdict}", flush=True)
    show("same weights, one version and ordered curves after a kill", f"{same} of {count} (undisturbed: {whole.state})")


def weights(client: Client, name: str) -> str:
    """SHA-256 of the weights of the first version."""
    return str(client.models.version(name, 1)["manifest"]["weights"]["sha256"])


def in_order(job: Job) -> bool:
    """Whether ids grow, and each attempt's losses come by ascending step."""
    events = list(job.events())
    ids = [event.id for event in events]
    steps: dict[str, int] = {}
    for event in events:
        if event.type == "state":
            steps.clear()
        elif event.type == "metric" and event.data["name"].endswith("/loss"):
            if event.data["step"] <= steps.get(event.data["name"], 0):
                return False
            steps[event.data["name"]] = event.data["step"]
    return ids == sorted(set(ids)) and events[-1].data.get("state") == "succeeded"


def main() -> None:
    """Print the figures."""
    default = Path(os.environ.get("MEDJOBS_TEST_DATA", "../shared/data")) / "imaging/breastmnist.npz"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_jobs", description=__doc__)
    parser.add_argument("--data", type=Path, default=default, help="a MedMNIST file (default %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=2, help="of the training that is watched (default %(default)s)"
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    chosen = parser.parse_args()
    with stack.running(**FAST) as (client, _, parent):
        data = a_set(client, chosen.data)
        shown(client, data, chosen.minutes)
        cancel(client, data)
        kills(client, parent, data, chosen.kills, random.Random(chosen.seed))


if __name__ == "__main__":
    main()
