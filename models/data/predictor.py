"""The dataset kind at work: each validation in a child process, so that no file can hurt the inference worker."""

from __future__ import annotations

import importlib.metadata
import json
import mimetypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import DatasetInvalid, EmptyInput, JobError
from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, NewArtifact, Source
from models.data.kind import DatasetParams

THREADS = 2
"""Of the child: a worker's own jobs go on beside it."""

MEMORY = min(16 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4)
"""Bytes of address space of the child. Ten million observations took 1.8 GB of memory; libraries reserve more than they
use."""

SCRATCH = "medjobs-dataset-"
"""Of the scratch folders, followed by the worker's process id."""

TIME_S = 3000.0
"""Shorter than the kind's own time, so that the caller hears why."""


@dataclass(frozen=True)
class Decoded:
    """A validated data set: the result's item and its files."""

    item: dict[str, Any]
    files: Mapping[str, bytes]


class DatasetPredictor:
    """No model and no device: all is done in `decode`; see jobs.predicting.Predictor."""

    max_batch = 1

    def __init__(self, memory: int = MEMORY, time_s: float = TIME_S) -> None:
        """The child's limits."""
        self.memory, self.time_s = memory, time_s

    def decode(self, source: Source, params: Params) -> Decoded:
        """Validate the files in a child process; raises `DatasetInvalid`."""
        assert isinstance(params, DatasetParams)
        if not source.files:
            raise DatasetInvalid("A data set is made of files; upload them and name their ids.")
        if any(not path.stat().st_size for path in source.files):
            raise EmptyInput
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-") as scratch:
            folder = Path(scratch)
            task = {
                "format": params.format,
                "options": params.options,
                "files": [str(path.absolute()) for path in source.files],
                "parent": os.getpid(),
                "memory": self.memory,
            }
            (folder / "task.json").write_text(json.dumps(task))
            return _outcome(folder, self._run(folder))

    def predict(self, batch: Sequence[Decoded]) -> list[None]:
        """Nothing is left to do."""
        return [None] * len(batch)

    def encode(self, decoded: Decoded, output: None, position: int) -> Encoded:
        """The item and its files. All inputs of a job are one item, so that the names are free."""
        files = tuple(
            NewArtifact(name, mimetypes.guess_type(name)[0] or "application/octet-stream", content, position)
            for name, content in sorted(decoded.files.items())
        )
        return Encoded(decoded.item, files)

    def provenance(self) -> dict[str, Any]:
        """Libraries that read the files."""
        libraries = {name: importlib.metadata.version(name) for name in ("numpy", "polars", "pydicom", "rdkit")}
        return {"device": "cpu", "precision": None, "threads": THREADS, "libraries": libraries}

    def _run(self, folder: Path) -> int:
        """The child's exit status, after its end or its time. What it prints may hold cells and goes nowhere."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), str(THREADS))
        quiet = {"MALLOC_ARENA_MAX": "2", "TMPDIR": str(folder), "HOME": str(folder), "LANG": "C.UTF-8"}
        command = [sys.executable, "-P", "-m", "models.data.child", str(folder / "task.json")]
        nowhere = subprocess.DEVNULL
        environment = {**threads, **quiet, "PATH": os.environ.get("PATH", "")}
        try:
            ended = subprocess.run(
                command, cwd=folder, env=environment, stdin=nowhere, stdout=nowhere, stderr=nowhere,
                timeout=self.time_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            detail = f"Reading the data set took longer than {self.time_s:g} s; send fewer cases."
            raise DatasetInvalid(detail, problems=[]) from None
        return ended.returncode


def _outcome(folder: Path, status: int) -> Decoded:
    """What the child left, or why there is nothing."""
    item, refused, crashed = folder / "item.json", folder / "refused.json", folder / "crashed.json"
    if item.exists():
        files = {path.name: path.read_bytes() for path in (folder / "files").iterdir()}
        return Decoded(json.loads(item.read_text()), files)
    if refused.exists():
        said = json.loads(refused.read_text())
        raise DatasetInvalid(said["detail"], **said["facts"])
    if status >= 0:
        where = json.loads(crashed.read_text())["error"] if crashed.exists() else f"exit status {status}"
        raise JobError(f"The data set could not be read because of a defect ({where}).")
    ended = f"Reading the data set was ended by signal {-status}"
    detail = f"{ended}: it needs more memory than is allowed, or breaks a decoder. Send fewer cases."
    raise DatasetInvalid(detail, problems=[])


def sweep() -> None:
    """Delete the scratch folders of workers that were killed: they hold patients' data."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        owner = folder.name.removeprefix(SCRATCH).partition("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def load(version: ModelVersion | None, device: str) -> DatasetPredictor:
    """The predictor; there is no model, and any device will do."""
    sweep()
    return DatasetPredictor()
