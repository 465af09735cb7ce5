"""The dataset kind: params, the result's item, and a child process that may die without hurting anyone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydantic import ValidationError

from jobs.errors import DatasetInvalid, EmptyInput, JobError
from jobs.predicting import Encoded, Source
from models.data import canonical
from models.data.kind import DatasetItem, DatasetParams
from models.data.predictor import SCRATCH, DatasetPredictor, load


def npz(folder: Path, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for name in ("train", "val", "test"):
        made[f"{name}_images"] = random.integers(0, 256, (60, 28, 28)).astype(np.uint8)
        made[f"{name}_labels"] = (np.arange(60) % 2)[:, None]
    np.savez(folder / "set.npz", **made)
    return folder / "set.npz"


def run(path: Path, predictor: DatasetPredictor | None = None, **params: object) -> Encoded:
    predictor = predictor or load(None, "cpu")
    decoded = predictor.decode(Source((path,)), DatasetParams(**params))
    (output,) = predictor.predict([decoded])
    return predictor.encode(decoded, output, 0)


def test_the_item_tells_all_and_the_files_are_the_set(tmp_path: Path) -> None:
    encoded = run(npz(tmp_path), options={"classes": ["well", "ill"]})
    item = DatasetItem.model_validate(encoded.item)
    json.dumps(encoded.item, allow_nan=False)
    assert item.counts == {"train": 60, "validation": 60, "test": 60}
    assert item.classes["train"] == {"well": 30, "ill": 30}
    assert item.files == ["data.npz", "meta.json"]
    files = {file.name: file for file in encoded.artifacts}
    assert set(files) == {"data.npz", "meta.json", "parts.svg", "samples.png"}
    (tmp_path / "set").mkdir()
    for name in item.files:
        (tmp_path / "set" / name).write_bytes(files[name].content)
    found = canonical.load(tmp_path / "set")
    assert canonical.fingerprint(found) == item.fingerprint
    for name in ("parts.svg", "samples.png"):
        assert f"({name})" in item.card
    assert files["parts.svg"].content.startswith(b"<svg ")
    assert files["samples.png"].content.startswith(b"\x89PNG")


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    path = npz(tmp_path)
    first, again = run(path), run(path)
    assert first.item == again.item
    assert [file.content for file in first.artifacts] == [file.content for file in again.artifacts]


def test_options_are_those_of_the_format_and_get_their_defaults() -> None:
    assert DatasetParams(format="images").options["size"] == 28
    assert DatasetParams(format="images", options={"size": 28}) == DatasetParams(format="images")
    for bad in (
        {"format": "images", "options": {"size": 29}},
        {"format": "medmnist", "options": {"size": 28}},
        {"format": "molecules"},
        {"format": "pickle"},
        {"format": "medmnist", "options": {"classes": ["a", "a"]}},
        {"format": "medmnist", "options": {"classes": ["a", "b"], "positive": "c"}},
    ):
        with pytest.raises(ValidationError):
            DatasetParams(**bad)
    with pytest.raises(ValidationError, match=r"size: Input should be"):
        DatasetParams(format="images", options={"size": 29})


def test_a_refusal_comes_through_with_its_problems(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"neither")
    with pytest.raises(DatasetInvalid, match="not a readable npz") as refused:
        run(tmp_path / "x")
    assert refused.value.facts["problems"] == [{"file": 0, "detail": refused.value.detail}]
    assert refused.value.code == "dataset-invalid"
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(EmptyInput):
        run(tmp_path / "x")


def test_a_set_that_needs_too_much_memory_is_refused_and_the_worker_lives(tmp_path: Path) -> None:
    path = tmp_path / "big.npz"
    np.savez_compressed(path, train_images=np.zeros((700_000, 28, 28), np.uint8))
    with pytest.raises(DatasetInvalid, match="more memory than is allowed"):
        run(path, DatasetPredictor(memory=500 << 20))


def test_a_set_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match=r"longer than 0\.05 s"):
        run(npz(tmp_path), DatasetPredictor(time_s=0.05))


def test_a_defect_is_no_fault_of_the_callers_and_tells_no_value(tmp_path: Path) -> None:
    broken = DatasetParams.model_construct(format="pbc2", options={"of no format": "anna"})
    with pytest.raises(JobError, match="because of a defect") as failed:
        load(None, "cpu").decode(Source((npz(tmp_path),)), broken)
    assert failed.value.code == "internal-error"
    assert "anna" not in failed.value.detail


def test_the_child_dies_with_its_worker(tmp_path: Path) -> None:
    """Given a validation that waits, when its worker is killed, then no process is left."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = (
        "import sys\nfrom pathlib import Path\nfrom models.data.kind import DatasetParams\n"
        "from models.data import predictor\nfrom jobs.predicting import Source\n"
        "class Sized(type(Path())):\n    def stat(self, **_): return type('S', (), {'st_size': 1})()\n"
        "predictor.load(None, 'cpu').decode(Source((Sized(sys.argv[1]),)), DatasetParams(format='pbc2'))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(fifo)], cwd=Path(__file__).parents[2]) as worker:
        child = None
        for _ in range(200):
            time.sleep(0.05)
            children = psutil.Process(worker.pid).children()
            if children and children[0].num_threads() and "polars" in _mapped(children[0].pid):
                child = children[0]
                break
        assert child is not None
        assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"
        worker.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([child], timeout=5)
    assert not alive


def test_what_a_killed_worker_left_behind_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        pass
    dead, alive = (tmp_path / f"{SCRATCH}{pid}-x" for pid in (ended.pid, os.getpid()))
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "data.npz").write_bytes(b"a patient")
    load(None, "cpu")
    assert (dead.exists(), alive.exists()) == (False, True)


def _mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()
