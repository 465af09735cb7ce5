"""From a file of images to a version that answers: data set, training, gate, promotion, rollback, and what may die."""

from __future__ import annotations

import hashlib
import io
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from tests.services.home import Home

RECIPE = ["--recipe", "cnn-basic", "--set", "epochs=12", "--set", "baseline_epochs=2"]
"""Small enough for two cores, long enough to be killed in the middle."""

FAST = {"MEDJOBS_LEASE_LONG_S": "4", "MEDJOBS_RENEW_LONG_S": "0.5", "MEDJOBS_CONTROL_S": "0.3"}


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 28, 28) grey noise, in the ill half of which a square is a little brighter, and the labels (N, 1)."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = draw.normal(110, 30, (count, 28, 28))
    rows, columns = draw.integers(4, 16, (2, count))
    for image, label, row, column in zip(images, labels, rows, columns, strict=True):
        image[row : row + 8, column : column + 8] += 18 * label
    return np.clip(images, 0, 255).astype(np.uint8), labels[:, None].astype(np.uint8)


def a_set(path: Path, seed: int = 0) -> Path:
    """A small set in MedMNIST's form: 240 + 80 + 100 images."""
    arrays = {}
    for number, (part, count) in enumerate((("train", 240), ("val", 80), ("test", 100))):
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = pictures(count, 10 * seed + number)
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    started = Home(tmp_path_factory.mktemp("u"), **FAST)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def squares(home: Home) -> str:
    """The name of a data set that is ready."""
    a_set(home.folder / "squares.npz")
    options = ["--option", 'classes=["plain", "square"]', "--option", "positive=square"]
    found = home.json("data", "add", "squares", "--format", "medmnist", "squares.npz", *options)
    assert found["state"] == "ready"
    assert found["counts"] == {"train": 240, "validation": 80, "test": 100}
    return "squares"


@pytest.fixture(scope="module")
def first(home: Home, squares: str) -> dict[str, Any]:
    """Version 1, seed 0: as `medjobs train --watch --json` prints it."""
    found = home.json("train", "diagnosis", "--data", squares, *RECIPE, "--seed", "0", "--watch")
    assert (found["name"], found["version"], found["aliases"]) == ("squares", 1, ["candidate"])
    return dict(found)


def a_png(seed: int, square: bool) -> bytes:
    images, _ = pictures(2, seed)
    return png(images[int(square)])


def png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def model_of(home: Home, name: str = "squares") -> int:
    """The version that answers for `name`."""
    with home.client() as client:
        job = client.submit("diagnosis", client.upload(a_png(77, True)), model=name).wait(60)
        assert job.state == "succeeded", f"{job.data}\n{home.logs()}"
        return int(job.result().raw["model"]["version"])


def test_a_training_is_seen_while_it_runs_and_leaves_figures_baseline_and_report(
    home: Home, first: dict[str, Any]
) -> None:
    # Given a trained version
    with home.client() as client:
        job = client.job(first["job"])
        told = list(job.events())
        item = job.result().items[0]
        # Then its events tell progress up to the end and the loss of every fit
        assert max(event.data["fraction"] for event in told if event.type == "progress") > 0.9
        curves = {event.data["name"] for event in told if event.type == "metric"}
        assert any(name.endswith("/loss") for name in curves)
        # and the version has figures with intervals, beside those of the baseline
        metrics, baseline = first["manifest"]["metrics"], first["manifest"]["baseline"]
        assert metrics["test"]["n"] == 100
        assert metrics["test"]["auc"]["low"] <= metrics["test"]["auc"]["value"] <= metrics["test"]["auc"]["high"]
        assert metrics["test"]["auc"]["value"] > 0.7
        assert 0 < baseline["mean"]["auc"] <= 1
        assert item["version"] == {"name": "squares", "version": 1}
        names = {artifact.name for artifact in job.result().artifacts}
        assert {"report.html", "curves.svg", "curves.json"} <= names
        assert b"Research use only" in job.artifact("report.html")
    # and `show` prints them
    assert "auc" in home.run("models", "show", "squares@1")
    assert "squares" in home.run("show", first["job"])


def test_the_test_part_diagnosed_over_http_gives_the_auc_of_the_card(home: Home, first: dict[str, Any]) -> None:
    """Given the 100 images that the training held back, when the version diagnoses them as anyone's, then the AUC that
    scikit-learn computes from the answers is the one that its card claims, and far from that of guessing."""
    images, labels = pictures(100, 2)
    with home.client() as client:
        job = client.submit("diagnosis", *(client.upload(png(image)) for image in images), model="squares@1",
                            params={"explain": False}).wait(120)  # fmt: skip
        assert job.state == "succeeded", f"{job.data}\n{home.logs()}"
        found = [item["findings"][0] for item in job.result().items]
    auc = roc_auc_score(labels[:, 0], [one["probability"] for one in found])
    card = first["manifest"]["metrics"]["test"]
    assert auc == pytest.approx(card["auc"]["value"], abs=0.002)
    assert auc > 0.7
    right = [(one["decision"] == "positive") == bool(label) for one, label in zip(found, labels[:, 0], strict=True)]
    assert np.mean(right) == pytest.approx(card["accuracy"]["value"], abs=0.011)


def test_two_versions_are_compared_gated_promoted_used_and_rolled_back(home: Home, first: dict[str, Any]) -> None:
    # Given version 1 in production
    home.run("models", "promote", "squares@1", "--reason", "the first")
    assert model_of(home) == 1
    # When another seed makes version 2
    second = home.json("train", "diagnosis", "--data", "squares", *RECIPE, "--seed", "1", "--watch")
    assert second["version"] == 2
    # Then both are compared on the same 100 cases
    found = home.json("models", "compare", "squares@1", "squares@2")
    assert found["n"] == 100
    auc = next(one for one in found["differences"] if one["figure"] == "auc")
    for version, value in ((first, auc["a"]), (second, auc["b"])):
        assert value == pytest.approx(version["manifest"]["metrics"]["test"]["auc"]["value"], abs=1e-4)
    assert auc["low"] <= auc["difference"] <= auc["high"]
    # and a gate lets version 2 through exactly where its interval allows it
    home.run("models", "gate", "squares", "--metric", "auc", "--margin", "0")
    strict = home.run("models", "promote", "squares@2", code=0 if auc["low"] >= 0 else 1)
    assert ("is now squares@2" in strict) == (auc["low"] >= 0)
    home.run("models", "gate", "squares", "--metric", "auc", "--margin", "0.9")
    home.run("models", "promote", "squares@2")
    # and the next job takes it, by the worker that was running all the time
    assert model_of(home) == 2
    # When it is rolled back, then the next job takes version 1
    home.run("models", "rollback", "squares", "--reason", "a test")
    assert model_of(home) == 1
    moves = home.json("models", "history", "squares", "--alias", "production")
    assert [(move["before"], move["after"]) for move in moves][:3] == [(2, 1), (1, 2), (None, 1)]


def test_a_version_is_exported_with_all_its_files(home: Home, first: dict[str, Any]) -> None:
    home.run("models", "export", "squares@1", "--to", "out")
    place = home.folder / "out/squares/1"
    manifest = json.loads((place / "manifest.json").read_text())
    weights = (place / manifest["weights"]["file"]).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == manifest["weights"]["sha256"]
    assert "# " in (place / "card.md").read_text()


def test_a_training_run_again_is_identical_and_registers_nothing(home: Home, first: dict[str, Any]) -> None:
    before = len(home.json("models", "show", "squares")["versions"])
    found = home.json("verify", first["job"])
    assert found["identical"], found["differences"]
    assert len(home.json("models", "show", "squares")["versions"]) == before


def test_a_diagnosis_run_again_is_identical(home: Home, first: dict[str, Any]) -> None:
    with home.client() as client:
        job = client.submit("diagnosis", client.upload(a_png(5, True)), model="squares@1").wait(60)
    assert home.json("verify", job.id)["identical"]


def test_a_child_killed_at_any_moment_costs_nothing_but_time(home: Home, first: dict[str, Any]) -> None:
    # Given a training with the seed of version 1, under another name
    moment = random.Random(3).random()
    print(f"killed at fraction {moment:.3f}")
    typed = ["train", "diagnosis", "--data", "squares", *RECIPE, "--seed", "0", "--name", "twin"]
    job_id = home.json(*typed)["id"]
    with home.client() as client:
        job = client.job(job_id)
        # When its process is killed at a random moment
        while job.refresh().data["progress"]["fraction"] < moment * 0.95 and not job.ended:
            time.sleep(0.02)
        assert job.state == "running", f"ended before it could be killed\n{home.logs()}"
        home.long_child().kill()
        # Then it ends with the very same weights, as the one version of its name
        job.wait(180)
        assert job.state == "succeeded", f"{job.data}\n{home.logs()}"
        assert [one["outcome"] for one in job.data["attempts"]][-1] == "succeeded"
        assert len(job.data["attempts"]) >= 2
        twin = client.models.version("twin", 1)
        assert [one["version"] for one in client.models.get("twin")["versions"]] == [1]
    assert twin["manifest"]["weights"]["sha256"] == first["manifest"]["weights"]["sha256"]


def test_a_training_is_cancelled_within_ten_seconds_and_leaves_no_version(home: Home, squares: str) -> None:
    slow = ["--recipe", "cnn-basic", "--set", "epochs=500", "--name", "never"]
    job_id = home.json("train", "diagnosis", "--data", squares, *slow)["id"]
    with home.client() as client:
        job = client.job(job_id)
        while job.refresh().data["progress"]["fraction"] == 0 and not job.ended:
            time.sleep(0.05)
        assert job.state == "running", f"{job.data}\n{home.logs()}"
        begun = time.monotonic()
        job.cancel()
        assert job.wait(20).state == "cancelled"
        assert time.monotonic() - begun < 10
        assert "never" not in [model["name"] for model in client.models]


def test_what_is_wrong_with_a_data_set_or_a_training_is_said_at_once(home: Home, squares: str) -> None:
    np.savez(home.folder / "broken.npz", train_images=np.zeros((4, 28, 28), np.uint8))
    broken = home.json("data", "add", "broken", "--format", "medmnist", "broken.npz", code=1)
    assert broken["state"] == "rejected"
    assert broken["problems"]
    home.run("train", "diagnosis", "--data", "broken", code=1)
    home.run("train", "diagnosis", "--data", "nothing", code=1)
    home.run("train", "diagnosis", "--data", squares, "--recipe", "no-such-recipe", code=1)
    home.run("train", "diagnosis", "--data", squares, "--set", "no_such_setting=1", code=1)


def test_a_data_set_that_a_training_waits_for_cannot_be_removed(home: Home) -> None:
    a_set(home.folder / "other.npz", seed=1)
    home.run("data", "add", "other", "--format", "medmnist", "other.npz")
    job_id = home.json("train", "diagnosis", "--data", "other", "--recipe", "cnn-basic", "--set", "epochs=500")["id"]
    home.run("data", "remove", "other", code=1)
    home.run("cancel", job_id)
    with home.client() as client:
        client.job(job_id).wait(30)
    home.run("data", "remove", "other")
    assert "other" not in [one["name"] for one in home.json("data", "list")]
