"""Which queue a job waits in, as workers that are set apart for a model come and go."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db import workers
from db.engine import Database
from jobs.kinds import Kind, Params
from jobs.needs import GIB, own_served
from registry import placing
from registry.versions import Registry

KIND = Kind(name="toy", summary="", params=Params, item=Params)
MANIFESTS: dict[str, dict[str, Any]] = {
    "anywhere": {},
    "on-gpu": {"device": "gpu", "memory_bytes": 10 * GIB},
    "on-cpu": {"device": "cpu"},
}


def made(database: Database) -> placing.Placing:
    registry = SimpleNamespace(get=lambda name, number: SimpleNamespace(manifest=MANIFESTS[name]))
    return placing.Placing(database, cast(Registry, registry), 20.0)


def set_apart(database: Database, name: str, device: str, *models: str) -> None:
    facts = {"queues": [queue for model in models for queue in own_served(model, device)]}
    workers.register(database, workers.Worker(name, "h", 1, "inference", device, facts))


def test_a_model_has_its_own_queue_while_a_worker_of_the_right_sort_is_set_apart_for_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given workers for models on a CPU and on a GPU, then a model that needs the other sort is left to all workers,
    and one that both are set apart for waits where only the right one takes it."""
    monkeypatch.setattr(placing, "REMEMBERED_S", 0.0)
    ask = made(database)
    general = {name: ask.queue(KIND, name, 1) for name in MANIFESTS}
    assert general == {"anywhere": "any", "on-gpu": "gpu-16", "on-cpu": "cpu"}
    set_apart(database, "c", "cpu", "anywhere", "on-gpu")
    assert {name: ask.queue(KIND, name, 1) for name in MANIFESTS} == {**general, "anywhere": "model-anywhere"}
    set_apart(database, "g", "cuda:0", "on-cpu", "on-gpu")
    assert [ask.queue(KIND, name, 1) for name in ("on-gpu", "on-cpu")] == ["gpu-model-on-gpu", "cpu"]
    workers.gone(database, "c")
    assert ask.queue(KIND, "on-gpu", 1) == "gpu-model-on-gpu"
    assert ask.queue(KIND, "anywhere", 1) == "any"
    assert ask.queue(KIND, None, None) == "any"
    assert ask.queue(replace(KIND, pool="long"), "anywhere", 1) == "any"
    workers.gone(database, "g")
    assert {name: ask.queue(KIND, name, 1) for name in MANIFESTS} == general
    assert ask.general(KIND, "on-gpu", 1) == "gpu-16"


def test_a_worker_that_cannot_start_sets_nothing_apart(database: Database) -> None:
    facts = {"queues": own_served("anywhere", "cpu")}
    workers.register(database, workers.Worker("r", "h", 1, "inference", "cpu", facts, state="restarting"))
    assert made(database).queue(KIND, "anywhere", 1) == "any"
