"""The runner of toy-train: a "training" that draws one number a step and makes a version of toy-scale of their sum."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import ItemsView
from typing import Any

from jobs.predicting import NewArtifact
from jobs.running import Finished, Work
from jobs.training import NewVersion
from toy_kinds import TrainParams


class SlowFiles(dict[str, bytes]):
    """Files that take their time whenever they are read: so a test can kill what stores them."""

    def __init__(self, files: dict[str, bytes], seconds: float) -> None:
        super().__init__(files)
        self.seconds = seconds

    def items(self) -> ItemsView[str, bytes]:
        """As of any mapping, later."""
        time.sleep(self.seconds)
        return super().items()


def run(work: Work) -> Finished:
    """The factor depends on seed and steps alone, however often the run was interrupted."""
    params = work.params
    assert isinstance(params, TrainParams)
    steps = params.steps if work.original is None else int(work.original["plan"]["steps"])
    factor, shown = _trained(work, params, steps)
    item: dict[str, Any] = {"factor": factor, "steps": steps, "devices": list(work.devices)}
    if params.dataset is not None:
        from models.data.canonical import load

        item["rows"] = len(load(work.datasets["dataset"].folder))
    if params.parent is not None:
        parent = work.versions["parent"]
        item["parent"] = json.loads((parent.folder / "factor.json").read_text())["factor"]
    version = None if params.name is None else _version(params, factor)
    files = tuple(NewArtifact(name, "text/plain", text.encode()) for name, text in shown.items())
    return Finished([item], files, {"device": work.device, "plan": {"steps": steps}}, version)


def _trained(work: Work, params: TrainParams, steps: int) -> tuple[float, dict[str, str]]:
    """The sum, and what was shown of it on the way by name."""
    begin, total = 0, 0.0
    shown: dict[str, str] = {}
    found = work.checkpoints.newest()
    if found is not None:
        state = json.loads(found[0]["state.json"])
        begin, total, shown = state["step"], state["total"], state["shown"]
        work.log(f"goes on from step {begin}")
    for step in range(begin, steps):
        work.step()
        total += random.Random(work.seed * 100_003 + step).random()
        _busy(params.busy_s)
        time.sleep(params.step_s)
        work.progress((step + 1) / steps, "train", f"{step + 1} of {steps}")
        for number in range(params.metrics):
            work.metric("loss" if number == 0 else f"loss.{number}", 1 / (step + 1), step)
        if params.show_every and (step + 1) % params.show_every == 0:
            name, text = f"sum-{step + 1:03d}.txt", str(total)
            shown[name] = text
            work.show(name, "text/plain", text.encode(), step + 1)
        if (step + 1) % params.checkpoint_every == 0:
            content = json.dumps({"step": step + 1, "total": total, "shown": shown}).encode()
            work.checkpoints.save({"state.json": content}, {"step": step + 1})
    return total, shown


def _busy(seconds: float) -> None:
    """Use the processor."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(1000))


def _version(params: TrainParams, factor: float) -> NewVersion:
    assert params.name is not None
    weights = json.dumps({"factor": factor}).encode()
    manifest = {
        "name": params.name, "kind": "toy-scale", "summary": "A toy's factor.", "created_at": "2026-01-01T00:00:00Z",
        "weights": {"file": "factor.json", "sha256": hashlib.sha256(weights).hexdigest()},
    }  # fmt: skip
    files = {"factor.json": weights, "card.md": b"# A toy\n"}
    return NewVersion(params.name, "toy-scale", manifest, SlowFiles(files, params.store_s))
