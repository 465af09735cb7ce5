"""`python -m models.training.rank`: a rank above 0 of a training on several devices. Started by together.py alone."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from jobs.datasets import DataSet
from jobs.predicting import ModelVersion
from models.training.environment import repeatable
from models.training.kind import TrainingParams
from models.training.local import LocalWork
from models.training.ranks import Done, Group
from models.training.run import train
from models.training.together import join


class CopiedCheckpoint:
    """The checkpoint that rank 0 copied; this rank saves none."""

    def __init__(self, folder: str | None) -> None:
        """`folder` as together.py wrote it; None where the training begins anew."""
        self._folder = None if folder is None else Path(folder)

    def save(self, files: dict[str, bytes], manifest: dict[str, Any], segments: Sequence[Path] = ()) -> None:
        """Rank 0 does it."""

    def newest(self) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """What rank 0 goes on from."""
        if self._folder is None:
            return None
        said = json.loads((self._folder / "manifest.json").read_text())
        return {name: (self._folder / name).read_bytes() for name in said["files"]}, said["manifest"]

    def segments(self, folder: Path) -> list[Path]:
        """A training has none."""
        return []


def work_of(task: dict[str, Any]) -> LocalWork:
    """The job as this rank sees it: nobody tells it to stop but rank 0, by ending."""
    work = LocalWork(task["seed"], task["device"], Path(task["scratch"]))
    work.job_id = task["job"]
    work.params = TrainingParams.model_validate(task["params"])
    dataset = task["dataset"]
    work.datasets = {"dataset": DataSet(**{**dataset, "folder": Path(dataset["folder"])})}
    work.versions = {
        field: ModelVersion(**{**version, "folder": Path(version["folder"])})
        for field, version in task["versions"].items()
    }
    work.checkpoints = CopiedCheckpoint(task["checkpoint"])
    return work


def main() -> None:
    """Do as rank 0 does until its last fit is over."""
    task = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(task["threads"])
    work = work_of(task)
    params = work.params
    assert isinstance(params, TrainingParams)
    join(Path(task["rendezvous"]), task["rank"], params.devices, task["device"])
    try:
        with repeatable():
            train(work, params, Group(task["rank"], params.devices, task["device"]))
    except Done:
        return


def _end_with_parent() -> None:
    """Rank 0 holds the other end of the standard input: when it goes, so does this process, whatever it is in.

    Read below Python's buffer, whose lock would abort a process that ends while this thread waits in it.
    """
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


if __name__ == "__main__":
    main()
