"""A whole kind from a package of one's own (tests/own_kind): installed, served, trained, without an edit of ours."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load

from tests.services.home import Home
from tests.services.installing import installed

PROJECT = Path(__file__).parents[1] / "own_kind"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which pip installed the package, its entry point included."""
    project = shutil.copytree(PROJECT, tmp_path_factory.mktemp("source") / "own_kind")
    return installed(project, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Iterator[Home]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = Home(tmp_path_factory.mktemp("k"), PYTHONPATH=path)
    np.savez(started.folder / "pictures.npz", **arrays())
    yield started
    started.stop()


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 8, 8) of noise, every second one with every second row darkened, and 1 for those."""
    random, labels = np.random.default_rng(seed), np.arange(count) % 2
    found = random.integers(60, 256, (count, 8, 8))
    found[labels == 1, ::2] //= 3
    return found.astype(np.uint8), labels


def arrays() -> dict[str, np.ndarray]:
    """A data set as MedMNIST files hold it."""
    sizes = {"train": 200, "val": 40, "test": 60}
    made = {name: pictures(size, seed) for seed, (name, size) in enumerate(sizes.items())}
    pairs = [(name, dict(zip(("images", "labels"), pair, strict=True))) for name, pair in made.items()]
    return {f"{name}_{what}": array for name, pair in pairs for what, array in pair.items()}


@pytest.fixture(scope="module")
def version(home: Home) -> dict[str, Any]:
    """A version that `medjobs train` made."""
    home.json("data", "add", "pictures", "--format", "medmnist", "pictures.npz")
    return dict(home.json("train", "stripes", "--data", "pictures", "--seed", "1", "--watch"))


def test_the_kind_is_listed_with_the_schemas_that_its_package_declares(home: Home) -> None:
    with home.client() as client:
        (kind,) = (one for one in client.get("/v1/kinds")["kinds"] if one["name"] == "stripes")
    assert kind["trainable"]
    assert kind["recipes"]["small"]["defaults"] == {"epochs": 6.0, "learning_rate": 0.01}
    assert kind["params"]["properties"]["threshold"]["exclusiveMaximum"] == 1
    assert kind["input"]["required"] == ["pixels"]


def test_it_is_trained_and_answers_as_a_direct_call_of_its_network(
    home: Home, site: Path, version: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the version's weights in the package's own network
    monkeypatch.syspath_prepend(str(site))
    from stripes.network import Network, prepared  # type: ignore[import-not-found]

    assert Path(sys.modules["stripes"].__file__ or "").parent.parent == site
    network = Network().eval()
    shown, _ = pictures(7, seed=9)
    with home.client() as client:
        network.load_state_dict(load(client.models.file("pictures", version["version"], "weights.safetensors")))
        # When pictures that it has not seen are sent
        inputs = [{"data": {"pixels": image.tolist()}} for image in shown]
        job = client.submit("stripes", *inputs, model=f"pictures@{version['version']}").wait(60)
        assert job.state == "succeeded", f"{job.data}\n{home.logs()}"
        answers = [item["probability"] for item in job.result().items]
    # Then the answers are the network's, and they tell striped from plain
    assert answers == pytest.approx(network(prepared(shown)).sigmoid().tolist(), abs=1e-5)
    assert [answer > 0.5 for answer in answers] == [False, True, False, True, False, True, False]
    assert version["manifest"]["metrics"]["test"]["accuracy"]["value"] > 0.9


def test_it_is_submitted_from_the_command_line(home: Home, version: dict[str, Any]) -> None:
    model = f"pictures@{version['version']}"
    shown = json.dumps({"pixels": pictures(2, seed=10)[0][1].tolist()})
    submit = ("submit", "--kind", "stripes", "--model", model, "--data", shown, "--wait")
    (item,) = home.json(*submit)["items"]
    assert item["striped"] is (item["probability"] >= 0.5)
    (strict,) = home.json(*submit, "--param", "threshold=0.999999")["items"]
    assert strict == {**item, "striped": False}
    assert "probability" in home.run(*submit)


def test_what_its_schema_does_not_know_is_refused_before_anything_starts(home: Home, version: dict[str, Any]) -> None:
    from medjobs.client import MedjobsError

    with home.client() as client:
        for data, params in (({"pixels": [[0]]}, {}), ({"pixels": [[0] * 8] * 8}, {"threshold": 2})):
            with pytest.raises(MedjobsError) as refused:
                client.submit("stripes", {"data": data}, model=f"pictures@{version['version']}", params=params)
            assert refused.value.status == 422
