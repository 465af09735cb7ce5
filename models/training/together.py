"""Starts the other ranks of a training on several devices: child processes that run the same trainer beside rank 0."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from jobs.errors import ModelUnusable, RetryableError
from jobs.predicting import ModelVersion
from jobs.running import Work
from models.training.kind import TrainingParams
from models.training.ranks import Group

TIMEOUT_S = 600.0
"""Longest wait of one rank for another: what rank 0 does alone (a stage such as boosting) must end within it. A dead
rank is mostly noticed at once; where gloo misses it, the exchange that was under way ends after this time."""

LEAVE_S = 20.0
"""Time that a rank has to leave after the last fit; then it is ended."""


def device_of(work: Work, rank: int, world: int) -> str:
    """The device of a rank; raises `ModelUnusable` where there are too few GPUs. Any number of ranks shares a CPU."""
    if work.device == "cpu":
        return "cpu"
    if world > len(work.devices):
        detail = f"The training asks for {world} devices, this worker has {len(work.devices)}; ask for fewer."
        raise ModelUnusable(detail)
    return work.devices[rank]


class Leader(Group):
    """Rank 0, with its children."""

    def __init__(self, world: int, device: str, children: list[subprocess.Popen[bytes]]) -> None:
        super().__init__(0, world, device)
        self._children = children

    def check(self) -> None:
        """Raises where a child has ended before the last fit was over."""
        for rank, child in enumerate(self._children, start=1):
            if self.world > 1 and child.poll() is not None:
                raise RetryableError(f"Rank {rank} of the training ended early, with status {child.returncode}.")


@contextmanager
def spawned(work: Work, params: TrainingParams) -> Iterator[Group]:
    """The ranks 1 and up beside this process, which is rank 0; none is left behind.

    A child learns what to do from a line of JSON on its standard input, and ends as soon as that closes: it cannot
    outlive this process, however this process ends. Every rank goes on from the same checkpoint, which is copied.
    """
    world = params.devices
    devices = [device_of(work, rank, world) for rank in range(world)]
    threads = torch.get_num_threads()
    if work.device == "cpu":
        torch.set_num_threads(max(1, threads // world))
    rendezvous = work.folder / "rendezvous"
    rendezvous.unlink(missing_ok=True)
    # The ranks are processes of one host, and its name may not resolve to an address that they can bind.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    task = {**_task(work, params), "rendezvous": str(rendezvous), "threads": torch.get_num_threads()}
    children = [_child({**task, "rank": rank, "device": devices[rank]}) for rank in range(1, world)]
    try:
        join(rendezvous, 0, world, devices[0])
        yield Leader(world, devices[0], children)
    except BaseException:
        _never_freed()
        raise
    finally:
        for child in children:
            _end(child)
        if dist.is_initialized():
            dist.destroy_process_group()
        torch.set_num_threads(threads)


def _never_freed() -> None:
    """Keep the process group's memory for as long as this process lives.

    Freeing it joins gloo's threads, and one that waits for a dead rank does not come back: rank 0 would hang for ever
    in a destructor (seen in two of three runs). What stays is a few kilobytes, after an attempt that failed.
    """
    if dist.is_initialized():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(dist.group.WORLD))


def join(rendezvous: Path, rank: int, world: int, device: str) -> None:
    """Join the process group through a file: NCCL between GPUs, gloo between CPU processes."""
    if device != "cpu":
        torch.cuda.set_device(device)
    backend = "gloo" if device == "cpu" else "nccl"
    wait = timedelta(seconds=TIMEOUT_S)
    dist.init_process_group(backend, init_method=f"file://{rendezvous}", rank=rank, world_size=world, timeout=wait)


def _child(task: dict[str, Any]) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-m", "models.training.rank"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(json.dumps(task).encode() + b"\n")
    child.stdin.flush()
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    """Its standard input closes, upon which it ends; if it does not, it is killed."""
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _task(work: Work, params: TrainingParams) -> dict[str, Any]:
    """What a child needs to do the same as rank 0."""
    dataset = work.datasets["dataset"]
    return {
        "job": work.job_id,
        "params": params.model_dump(mode="json"),
        "seed": work.seed,
        "dataset": {**vars(dataset), "folder": str(dataset.folder), "facts": dict(dataset.facts)},
        "versions": {field: _version(version) for field, version in work.versions.items()},
        "checkpoint": _copied_checkpoint(work),
        "scratch": str(work.folder),
    }


def _version(version: ModelVersion) -> dict[str, Any]:
    return {**vars(version), "folder": str(version.folder), "manifest": dict(version.manifest)}


def _copied_checkpoint(work: Work) -> str | None:
    """The newest checkpoint as files in the scratch folder, where every rank finds the same one."""
    found = work.checkpoints.newest()
    if found is None:
        return None
    folder = work.folder / "checkpoint"
    folder.mkdir(exist_ok=True)
    files, manifest = found
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps({"files": list(files), "manifest": manifest}))
    return str(folder)
