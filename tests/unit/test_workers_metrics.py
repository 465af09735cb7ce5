"""The metrics of workers: at one port for all of a supervisor, going on where a worker that died stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from db import tallies, workers
from db.engine import Database
from medjobs.stack.ports import free_port
from workers import exposing
from workers.exposing import BadBind, Shared
from workers.metrics import Batches
from workers.usage import Usage

COUNTING = """
import workers.exposing; workers.exposing.join()
from workers.metrics import BATCH, LEASES
BATCH.labels("m@1").observe(3)
LEASES.labels("inference", DEVICE).set(5)
"""


def count(shared: Shared, number: int) -> None:
    """A worker process that measures something and ends."""
    environment = {**os.environ, **shared.environment(number)}
    subprocess.run([sys.executable, "-c", COUNTING.replace("DEVICE", f"'cuda:{number}'")], env=environment, check=True)


def asked(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_one_port_shows_all_workers_and_counters_go_on_after_a_restart() -> None:
    """Given two workers of which the first died and started again, then what it counted before is still there, in the
    same files, and its gauges are gone while it is."""
    shared, port = Shared(), free_port()
    exposing.serve(f"127.0.0.1:{port}", CollectorRegistry(), shared.path)
    try:
        count(shared, 0)
        count(shared, 1)
        assert 'medjobs_model_batch_items_sum{model="m@1"} 6.0' in asked(port)
        assert 'medjobs_leases_held{device="cuda:0",pool="inference"} 5.0' in asked(port)
        files = set(shared.path.iterdir())

        shared.ended(0)
        text = asked(port)
        assert 'medjobs_model_batch_items_sum{model="m@1"} 6.0' in text
        assert 'medjobs_leases_held{device="cuda:0"' not in text
        assert 'medjobs_leases_held{device="cuda:1",pool="inference"} 5.0' in text

        count(shared, 0)
        assert 'medjobs_model_batch_items_sum{model="m@1"} 9.0' in asked(port)
        assert set(shared.path.iterdir()) == files
    finally:
        shared.close()
    assert not shared.path.exists()


@pytest.mark.parametrize("bind", ["9100", "localhost:", "localhost:x", ":9100", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused_with_the_form_of_one(bind: str) -> None:
    with pytest.raises(BadBind, match="HOST:PORT"):
        exposing.serve(bind, CollectorRegistry())


def test_a_port_that_is_taken_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    port = free_port()
    exposing.serve(f"127.0.0.1:{port}", CollectorRegistry())
    command = [sys.executable, "-m", "workers.keeper", "--metrics", f"127.0.0.1:{port}"]
    environment = {**os.environ, "MEDJOBS_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "choose another port" in done.stderr
    assert "Traceback" not in done.stderr


def test_sizes_of_batches_reach_the_database_with_a_heartbeat_once(database: Database) -> None:
    workers.register(database, workers.Worker("w1", "host", 1, "inference", "cpu"))
    batches = Batches()
    for items in (1, 3, 4, 500):
        batches.count("diagnosis", "m@1", items)
    taken = batches.take()
    batches.give_back(taken)  # the database was away
    for _ in range(2):
        workers.heartbeat(database, "w1", [], {}, "running", batches.take())
    standing = [(one.what, one.kind, one.bucket, one.times, one.total) for one in tallies.standing(database)]
    assert standing == [
        ("batches", "diagnosis", 1.0, 1, 1.0),
        ("batches", "diagnosis", 4.0, 2, 7.0),
        ("batches", "diagnosis", tallies.BEYOND, 1, 500.0),
    ]


def test_usage_of_a_worker_without_a_gpu_is_its_memory_and_its_processor() -> None:
    figures = Usage("cpu").now()
    assert set(figures) == {"rss", "cpu"}
    assert figures["rss"] > 10_000_000


def test_a_host_whose_driver_does_not_answer_gives_no_figures_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert set(Usage("cuda:0").now()) == {"rss", "cpu"}


def test_given_a_supervisor_that_was_killed_when_another_starts_then_its_files_go_and_those_of_the_living_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = Shared()
    code = "import os; from workers.exposing import Shared; Shared(); os.kill(os.getpid(), 9)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    left = [folder for folder in tmp_path.iterdir() if folder != living.path]
    for folder in (left[0], living.path):
        os.utime(folder, (1, 1))

    new = Shared()

    assert set(tmp_path.iterdir()) == {living.path, left[1], new.path}
    new.close()
    living.close()
    assert set(tmp_path.iterdir()) == {left[1]}
