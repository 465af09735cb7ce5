"""Anyone's own network: served as it is, refused by name where it does not fit, and never unpickled."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from imaging.drawing import png
from jobs.errors import ModelUnusable
from jobs.predicting import ModelVersion, Source
from models.diagnosis.contracts import OwnContract
from models.diagnosis.kind import DiagnosisItem, DiagnosisParams
from models.diagnosis.predictor import load

CONTRACT: dict[str, Any] = {
    "classes": ["calm", "ill"], "positive": "ill", "threshold": 0.4,
    "input": {"rows": 28, "columns": 28, "channels": 3, "range": [0.0, 1.0]},
}  # fmt: skip

SOURCE = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def wrong():
    return nn.Linear(3, 2)
"""


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """An installed package `own_net` with random weights on disk beside it, and its network."""
    (tmp_path / "own_net.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    import own_net  # type: ignore[import-not-found]

    torch.manual_seed(0)
    made: nn.Module = own_net.build().eval()
    safetensors.torch.save_file(made.state_dict(), tmp_path / "weights.safetensors")
    return made


def version(folder: Path, network: str | None = "own_net:build", **contract: Any) -> ModelVersion:
    named = None if network is None else {"name": network}
    manifest = {"name": "own", "version": 1, "network": named, "contract": {**CONTRACT, **contract}}
    return ModelVersion("own", 1, "diagnosis", folder, manifest)


def picture(folder: Path) -> tuple[Path, Tensor]:
    """A PNG, and the network input that anyone would make of it."""
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    path = folder / "x.png"
    path.write_bytes(png(pixels))
    return path, torch.from_numpy(pixels / 255.0).float().expand(1, 3, 28, 28)


def answered(found: ModelVersion, path: Path) -> DiagnosisItem:
    predictor = load(found, "cpu")
    decoded = predictor.decode(Source((path,)), DiagnosisParams())
    item = predictor.encode(decoded, predictor.predict([decoded, decoded])[1], 0).item
    return DiagnosisItem.model_validate(item)


def test_given_weights_and_a_network_then_the_answer_is_that_of_a_direct_call_and_claims_no_more(
    network: nn.Module, tmp_path: Path
) -> None:
    path, x = picture(tmp_path)
    with torch.no_grad():
        direct = float(network(x).softmax(dim=1)[0, 1])

    item = answered(version(tmp_path), path)

    assert item.findings[0].probability == pytest.approx(direct, abs=1e-6)
    assert item.findings[0].decision == ("positive" if direct >= 0.4 else "negative")
    assert (item.prediction_set, item.uncertainty.ood_score, item.uncertainty.in_distribution) == ([], None, None)
    assert any("brought along" in note for note in item.notes)
    assert item.evidence[0].artifact is None


@pytest.mark.parametrize("batch", ["dynamic", "one"])
def test_given_an_exported_program_then_it_needs_no_code_and_answers_as_the_network_did(
    network: nn.Module, tmp_path: Path, batch: str
) -> None:
    path, x = picture(tmp_path)
    folder = tmp_path / "program"
    folder.mkdir()
    shapes = ({0: torch.export.Dim("batch")},) if batch == "dynamic" else None
    example = x if batch == "one" else torch.cat([x, x])
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), folder / "model.pt2")
    with torch.no_grad():
        direct = float(network(x).softmax(dim=1)[0, 1])

    item = answered(version(folder, None), path)

    assert item.findings[0].probability == pytest.approx(direct, abs=1e-5)


def test_given_a_network_with_one_output_then_it_speaks_of_the_second_class(tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(1, 2, 3))[:, None] * 0 + 0.25

    torch.export.save(torch.export.export(Constant(), (torch.zeros(1, 3, 28, 28),)), folder / "model.pt2")
    path, _ = picture(tmp_path)

    assert answered(version(folder, None, output="probabilities"), path).findings[0].probability == 0.25
    logit = answered(version(folder, None), path).findings[0].probability
    assert logit == pytest.approx(1 / (1 + np.exp(-0.25)), abs=1e-6)


@pytest.mark.parametrize(
    ("dotted", "contract", "told"),
    [
        ("not_installed:build", {}, "not installed"),
        ("own_net:nothing", {}, "not installed"),
        ("own_net:wrong", {}, "do not fit"),
        ("own_net:build", {"classes": ["a", "b", "ill"]}, "3 classes"),
        ("own_net:build", {"input": {"rows": 28, "columns": 28, "channels": 1}}, "does not run"),
        (None, {}, "names no network"),
    ],
)
def test_given_what_does_not_fit_then_the_model_is_unusable_and_the_text_says_why(
    network: nn.Module, tmp_path: Path, dotted: str | None, contract: dict[str, Any], told: str
) -> None:
    with pytest.raises(ModelUnusable, match=told):
        load(version(tmp_path, dotted, **contract), "cpu")


@pytest.mark.parametrize("how", ["pickled weights", "pickled inputs", "another member"])
def test_given_an_exported_program_with_pickles_then_it_is_refused_before_torch_reads_it(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    _, x = picture(tmp_path)
    torch.export.save(torch.export.export(network, (x,)), tmp_path / "clean.pt2")
    folder = tmp_path / "program"
    folder.mkdir()
    with zipfile.ZipFile(tmp_path / "clean.pt2") as clean, zipfile.ZipFile(folder / "model.pt2", "w") as bad:
        for name in clean.namelist():
            content = clean.read(name)
            if how == "pickled weights" and name.endswith("model_weights_config.json"):
                config = json.loads(content)
                next(iter(config["config"].values()))["use_pickle"] = True
                content = json.dumps(config).encode()
            if how == "pickled inputs" and name.endswith("sample_inputs/model.pt"):
                import io

                stream = io.BytesIO()
                torch.save((zipfile.Path,), stream)
                content = stream.getvalue()
            bad.writestr(name, content)
        if how == "another member":
            bad.writestr("clean/data/constants/custom_obj_0", b"x")
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("torch read it"))

    with pytest.raises(ModelUnusable, match="pickled objects"):
        load(version(folder, None), "cpu")


@pytest.mark.parametrize(
    "wrong",
    [
        {"positive": "nobody"}, {"classes": ["ill", "ill"]}, {"modality": ["XRAY"]}, {"threshold": float("nan")},
        {"input": {"rows": 0, "columns": 28}}, {"photometric_interpretation": ["GREEN"]}, {"more": 1},
    ],
)  # fmt: skip
def test_given_a_contract_that_cannot_be_then_it_is_refused(wrong: dict[str, Any]) -> None:
    OwnContract.model_validate(CONTRACT)
    with pytest.raises(ValidationError):
        OwnContract.model_validate({**CONTRACT, **wrong})
