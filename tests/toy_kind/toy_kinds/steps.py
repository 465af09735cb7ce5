"""The runner of toy-steps: the same total however often it was interrupted and resumed."""

from __future__ import annotations

import json
import random
import time

from jobs.predicting import NewArtifact
from jobs.running import Finished, Work
from toy_kinds import StepsParams


def run(work: Work) -> Finished:
    """Add one random number a step; a checkpoint holds the step and the total."""
    params = work.params
    assert isinstance(params, StepsParams)
    begin, total = 0, 0.0
    found = work.checkpoints.newest()
    if found is not None:
        state = json.loads(found[0]["state.json"])
        begin, total = state["step"], state["total"]
        work.log(f"resumed at step {begin}")
    for step in range(begin, params.steps):
        if not params.deaf:
            work.step()
        total += random.Random(work.seed * 100_003 + step).random()
        time.sleep(params.step_s)
        work.progress((step + 1) / params.steps, "steps", f"{step + 1} of {params.steps}")
        work.metric("total", total, step)
        if (step + 1) % params.checkpoint_every == 0:
            content = json.dumps({"step": step + 1, "total": total}).encode()
            work.checkpoints.save({"state.json": content}, {"step": step + 1})
    artifact = NewArtifact("total.txt", "text/plain", f"{total}\n".encode())
    return Finished([{"total": total, "steps": params.steps}], (artifact,), {"device": work.device})
