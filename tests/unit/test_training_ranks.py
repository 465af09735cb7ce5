"""Several devices: ranks as child processes, which share every batch and never outlive the job's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from jobs.errors import ModelUnusable, RetryableError
from jobs.running import Finished, Stop
from models.training import together
from models.training.run import run
from models.training.together import device_of
from tests.training_toy import ROOT, Interrupted, installed, job

PLAIN = {"dropout": 0.0, "noise": 0.0, "norm": False, "fits": 1, "epochs": 3, "batch": 30, "patience": 5}


@pytest.fixture(autouse=True, scope="module")
def _toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with installed(tmp_path_factory.mktemp("installed")):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(_toy: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, torch.Tensor]:
    """A training by two ranks that nothing disturbed, and its losses."""
    work = job(tmp_path_factory.mktemp("whole"), devices=2, overrides=PLAIN)
    finished = run(work)
    assert children() == []
    return finished, losses(work)


def children() -> list[psutil.Process]:
    """Ranks that this process has started and that still run."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if "models.training.rank" in one.cmdline() and one.status() != "zombie"]


def losses(work: Interrupted) -> torch.Tensor:
    return torch.tensor([value for name, value, _ in work.metrics if name.endswith("/loss")])


class Killing(Interrupted):
    """Work in which a rank is killed at a step."""

    def step(self) -> None:
        super().step()
        if self.steps == 4:
            for child in children():
                child.kill()


def test_two_ranks_learn_what_one_process_learns(tmp_path: Path, whole: tuple[Finished, torch.Tensor]) -> None:
    """Given the same training in one process and in two, then the losses are the same but for rounding."""
    work = job(tmp_path, overrides=PLAIN)
    alone = run(work)
    assert (alone.items[0]["plan"]["devices"], whole[0].items[0]["plan"]["devices"]) == (1, 2)
    assert len(whole[1]) >= 10
    torch.testing.assert_close(losses(work), whole[1], rtol=1e-3, atol=1e-5)


def test_a_rank_whose_memory_runs_out_in_its_backward_pass_starts_that_again_alone(
    tmp_path: Path, whole: tuple[Finished, torch.Tensor]
) -> None:
    """Given rank 1 without room for its 15 examples once, then it adds up smaller portions and the losses are the same
    but for rounding."""
    work = job(tmp_path, devices=2, overrides={**PLAIN, "short_at": 8})
    assert run(work).items[0]["plan"]["devices"] == 2
    torch.testing.assert_close(losses(work), whole[1], rtol=1e-3, atol=1e-5)


def test_a_stopped_training_leaves_no_rank_behind_and_goes_on(
    tmp_path: Path, whole: tuple[Finished, torch.Tensor]
) -> None:
    """Given two ranks stopped at the fifth step, when the job goes on, then the weights are those of no stop."""
    work = job(tmp_path / "stopped", devices=2, overrides=PLAIN)
    work.stop_after = 5
    with pytest.raises(Stop):
        run(work)
    assert children() == []
    work.stop_after = None
    finished = run(work)
    assert finished.items[0]["weights_sha256"] == whole[0].items[0]["weights_sha256"]
    assert any("member-0 at step" in line for line in work.logs)


def test_a_training_run_again_has_the_settings_of_the_first_on_every_rank(
    tmp_path: Path, whole: tuple[Finished, torch.Tensor]
) -> None:
    """Given settings that are not the defaults any more, when the job is run again, then both ranks have them."""
    work = job(tmp_path, devices=2)
    work.original = json.loads(json.dumps(whole[0].provenance))
    assert run(work).items[0]["weights_sha256"] == whole[0].items[0]["weights_sha256"]


def test_a_rank_that_dies_ends_the_attempt_and_not_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "TIMEOUT_S", 20.0)
    given = job(tmp_path, devices=2, overrides={**PLAIN, "epochs": 50})
    work = Killing(5)
    work.folder, work.params, work.datasets = given.folder, given.params, given.datasets
    with pytest.raises(RetryableError, match="Rank 1"):
        run(work)
    assert children() == []


def test_ranks_die_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Given a process with a rank, when it is killed with no chance to tidy up, then its rank is gone soon after."""
    program = f"""
import torch
from pathlib import Path
from models.training import together
from models.training.run import run
from tests.training_toy import job
torch.set_num_threads(1)
work = job(Path({str(tmp_path)!r}), devices=2, overrides={ {**PLAIN, "epochs": 5000, "pause_s": 0.01}!r})
work.metric = lambda *point: print("begun", flush=True)
run(work)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"begun\n"
        (rank,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while rank.is_running() and rank.status() != "zombie" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not rank.is_running() or rank.status() == "zombie"


def test_a_rank_that_waits_for_the_others_ends_when_its_standard_input_does(tmp_path: Path) -> None:
    """Given a rank whose rank 0 never comes, when the pipe to it closes, then it does not wait any longer."""
    task = {
        "job": "j", "params": job(tmp_path, devices=2).params.model_dump(mode="json"), "seed": 0, "versions": {},
        "dataset": {"name": "d", "fingerprint": "0", "format": "medmnist", "folder": str(tmp_path), "facts": {}},
        "checkpoint": None, "scratch": str(tmp_path), "rendezvous": str(tmp_path / "rendezvous"), "threads": 1,
        "rank": 1, "device": "cpu",
    }  # fmt: skip
    rank = subprocess.Popen([sys.executable, "-m", "models.training.rank"], stdin=subprocess.PIPE)
    assert rank.stdin is not None
    try:
        rank.stdin.write(json.dumps(task).encode() + b"\n")
        rank.stdin.flush()
        deadline = time.monotonic() + 60
        while not (tmp_path / "rendezvous").exists():
            assert rank.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        rank.stdin.close()
        assert rank.wait(10) == 0
    finally:
        rank.kill()
        rank.wait()


def test_more_gpus_than_there_are_is_said_before_anything_runs() -> None:
    work: Any = Interrupted()
    work.device, work.devices = "cuda:0", ("cuda:0",)
    with pytest.raises(ModelUnusable, match="this worker has 1"):
        device_of(work, 0, 2)
    assert device_of(Interrupted(), 3, 4) == "cpu"
