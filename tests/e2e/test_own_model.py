"""A network of one's own, from a package of one's own: installed, registered, served, without an edit of ours."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.services.home import Home
from tests.services.installing import installed

SOURCE = '''
"""A network that no part of medjobs knows."""

import torch
from torch import nn


class Net(nn.Module):
    """(N, 1, 32, 32) to logits (N, 2)."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(4 * 15 * 15, 2)

    def forward(self, images):
        return self.head(self.features(images))


def build():
    """What the weights fit."""
    return Net()
'''

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "ournets"
version = "1.0"

[tool.setuptools]
packages = ["ournets"]
"""

CONTRACT = {
    "classes": ["plain", "square"],
    "positive": "square",
    "modality": ["CR", "DX"],
    "input": {"rows": 32, "columns": 32, "range": [0, 1]},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which pip installed the package."""
    project, site = tmp_path_factory.mktemp("ournets"), tmp_path_factory.mktemp("site")
    (project / "ournets").mkdir()
    (project / "ournets/__init__.py").write_text("")
    (project / "ournets/net.py").write_text(SOURCE)
    (project / "pyproject.toml").write_text(PROJECT)
    return installed(project, site)


@pytest.fixture(scope="module")
def network(site: Path) -> Iterator[torch.nn.Module]:
    """The network with weights that answer differently to different images."""
    sys.path.insert(0, str(site))
    from ournets.net import build  # type: ignore[import-not-found]

    torch.manual_seed(3)
    yield build().eval()
    sys.path.remove(str(site))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Iterator[Home]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = Home(tmp_path_factory.mktemp("u"), PYTHONPATH=path)
    (started.folder / "contract.json").write_text(json.dumps(CONTRACT))
    yield started
    started.stop()


def images(count: int) -> np.ndarray:
    """(N, 32, 32) of noise: the size that the contract asks for, so that nothing is resized."""
    return np.random.default_rng(8).integers(0, 256, (count, 32, 32), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def direct(network: torch.nn.Module, shown: np.ndarray) -> list[float]:
    """The probability of class 1 by calling the network itself."""
    with torch.no_grad():
        logits = network(torch.from_numpy(shown.astype(np.float32) / 255)[:, None])
    return [float(p) for p in logits.softmax(1)[:, 1]]


def served(home: Home, model: str, shown: np.ndarray) -> list[float]:
    """The same by the whole stack."""
    with home.client() as client:
        job = client.submit("diagnosis", *(client.upload(png(image)) for image in shown), model=model).wait(120)
        assert job.state == "succeeded", f"{job.data}\n{home.logs()}"
        return [item["findings"][0]["probability"] for item in job.result().items]


def test_weights_with_a_network_of_ones_own_answer_as_a_direct_call(home: Home, network: torch.nn.Module) -> None:
    # Given weights and the package that builds their network
    save_file(network.state_dict(), home.folder / "w.safetensors")
    # When they are added by an administrator
    made = home.json(
        "models", "add", "ours", "--kind", "diagnosis", "--weights", "w.safetensors",
        "--network", "ournets.net:build", "--contract", "contract.json",
    )  # fmt: skip
    # Then the next job is answered by them
    shown = images(5)
    found = served(home, f"ours@{made['version']}", shown)
    assert found == pytest.approx(direct(network, shown), abs=1e-5)
    assert len({round(p, 4) for p in found}) > 1


def test_an_exported_program_answers_as_a_direct_call(home: Home, network: torch.nn.Module) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (torch.zeros(2, 1, 32, 32),), dynamic_shapes=({0: batch},))
    torch.export.save(program, home.folder / "model.pt2")
    made = home.json(
        "models", "add", "exported", "--kind", "diagnosis", "--export", "model.pt2", "--contract", "contract.json"
    )
    shown = images(5)
    assert served(home, f"exported@{made['version']}", shown) == pytest.approx(direct(network, shown), abs=1e-5)


def test_who_is_no_administrator_may_not_add_a_model(home: Home, network: torch.nn.Module) -> None:
    from medjobs.client import Client, MedjobsError

    secret = home.run("token", "create", "researcher", "--scope", "read", "--scope", "submit").strip()
    save_file(network.state_dict(), home.folder / "w.safetensors")
    with Client(home.url, secret) as client, pytest.raises(MedjobsError) as refused:
        client.models.add("theirs", "diagnosis", {"weights.safetensors": home.folder / "w.safetensors"},
                          contract=CONTRACT, network="ournets.net:build")  # fmt: skip
    assert refused.value.status == 403


def test_weights_that_do_not_fit_the_network_fail_the_job_and_nothing_else(
    home: Home, network: torch.nn.Module
) -> None:
    save_file({"head.weight": torch.zeros(2, 7)}, home.folder / "other.safetensors")
    made = home.json(
        "models", "add", "misfit", "--kind", "diagnosis", "--weights", "other.safetensors",
        "--network", "ournets.net:build", "--contract", "contract.json",
    )  # fmt: skip
    with home.client() as client:
        job = client.submit("diagnosis", client.upload(png(images(1)[0])), model=f"misfit@{made['version']}").wait(60)
        assert job.state == "failed"
        assert job.data["error"]["code"] in {"model-unusable", "all-items-failed"}
    assert served(home, "chest-pneumonia", images(1))
