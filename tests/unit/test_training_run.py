"""The runner: from a job to a version that says all of its making, its curves, its card and its report."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tensorboardX.proto.event_pb2 import Event

from jobs.errors import OtherRelease
from jobs.kinds import Recipe
from jobs.predicting import ModelVersion
from jobs.results import DISCLAIMER, Report
from jobs.running import Finished, Stop
from models.catalogue import Catalogue, catalogue
from models.data.canonical import fingerprint
from models.diagnosis import card as diagnosis_card
from models.training import card, session
from models.training.export import export
from models.training.kind import TrainingItem
from models.training.report import render
from models.training.run import run
from tests.training_toy import KIND, Interrupted, ToyRecipe, cases, installed, job


@pytest.fixture(autouse=True)
def _toy(tmp_path: Path) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with installed(tmp_path / "installed"):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def work(tmp_path: Path) -> Interrupted:
    return job(tmp_path, name="toy", overrides={"epochs": 3})


def files(finished: Finished) -> dict[str, bytes]:
    return {one.name: one.content for one in finished.artifacts}


def test_a_version_says_how_it_was_made(work: Interrupted) -> None:
    finished = run(work)
    assert finished.version is not None
    manifest = finished.version.manifest
    assert (finished.version.name, finished.version.kind) == ("toy", "toy-fit")
    assert manifest["data"]["fingerprint"] == fingerprint(cases())
    assert manifest["data"]["counts"] == {"train": 100, "validation": 25, "test": 25}
    assert manifest["seed"] == 5
    assert manifest["recipe"]["name"] == "plain"
    assert manifest["recipe"]["settings"]["epochs"] == 3
    assert manifest["plan"]["steps"] == {"member-0": 12, "member-1": 12}
    assert torch.__version__.startswith(manifest["environment"]["torch"])
    assert manifest["environment"]["threads"] == manifest["plan"]["threads"] == 1
    assert manifest["parent"] is None
    assert manifest["metrics"]["undefined"] is None
    assert manifest["made_with"] == (
        "medjobs train toy-fit --data noise --name toy --recipe plain --seed 5 --set epochs=3"
    )
    json.dumps(manifest, allow_nan=False)
    assert set(finished.version.files) == {"weights.safetensors", "plot.svg", "counts.txt", "card.md"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chest-pneumonia", diagnosis_card.card),
        ("breast-malignancy", diagnosis_card.card),
        ("icu-mortality", card.card),
        ("pbc-survival", card.card),
    ],
)
def test_a_shipped_card_says_what_its_manifest_says_and_a_command_that_makes_that_model(
    name: str, text: Callable[[Mapping[str, Any]], str]
) -> None:
    version = catalogue().resolve(name)
    assert text(version.manifest) == (version.folder / "card.md").read_text()
    words = version.manifest["made_with"].split()
    assert words[:2] == ["medjobs", "train"]
    assert words[words.index("--name") + 1] == name
    assert words[words.index("--data") + 1] == version.manifest["data"]["name"]


def test_the_item_fits_its_schema_and_depends_on_the_seed_alone(work: Interrupted, tmp_path: Path) -> None:
    (item,) = run(work).items
    assert work.said[-1][:2] == (1.0, "finished")
    (again,) = run(job(tmp_path / "again", name="toy", overrides={"epochs": 3})).items
    assert item == again
    TrainingItem.model_validate(item)
    assert item["beats_baseline"] is True
    assert item["curves"]["member-1/loss"]["points"] == 12
    json.dumps(item, allow_nan=False)


def test_a_job_run_again_gives_the_same_item_files_and_weights(work: Interrupted, tmp_path: Path) -> None:
    """Given the provenance of a finished training, when it is run again, then nothing that has no clock differs."""
    first = run(work)
    again = job(tmp_path / "again", name="toy", overrides={"epochs": 3})
    again.original = json.loads(json.dumps(first.provenance))
    second = run(again)
    assert first.version is not None
    assert second.version is not None
    assert first.items == second.items
    assert first.version.files == second.version.files
    assert files(first) == files(second)


def test_a_training_that_goes_on_in_another_environment_says_so_and_claims_no_equal_weights(
    work: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a checkpoint made on an older processor, then stream, manifest, provenance and card tell of it."""
    here = session.deciding("cpu")
    work.stop_after = 8
    with monkeypatch.context() as patch:
        patch.setattr(session, "deciding", lambda _: {**here, "instruction_set": "AVX-of-old"})
        with pytest.raises(Stop):
            run(work)
    work.stop_after = None
    finished = run(work)
    assert finished.version is not None
    expected = [{"instruction_set": ["AVX-of-old", here["instruction_set"]]}]
    assert finished.version.manifest["resumed_elsewhere"] == finished.provenance["resumed_elsewhere"] == expected
    assert any("another environment (instruction_set AVX-of-old before" in line for line in work.logs)
    text = files(finished)["card.md"].decode()
    assert "went on elsewhere (another instruction_set)" in text
    assert "give equal weights" not in text


def test_a_training_that_goes_on_where_it_was_claims_equal_weights(work: Interrupted) -> None:
    work.stop_after = 8
    with pytest.raises(Stop):
        run(work)
    work.stop_after = None
    finished = run(work)
    assert "resumed_elsewhere" not in finished.provenance
    assert "give equal weights" in files(finished)["card.md"].decode()


class Newer(ToyRecipe):
    """The recipe in a later release: other defaults, and one setting more."""

    ema: float = 0.5
    fits: int = 3
    surprise: bool = False


class Narrower(Recipe):
    """The recipe in a release that has given up most of its settings."""

    epochs: float = 4


def test_a_job_run_again_by_a_release_with_other_defaults_has_the_settings_of_the_first(
    work: Interrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(work)
    monkeypatch.setitem(KIND.recipes, "plain", Newer)  # type: ignore[arg-type]
    again = job(tmp_path / "again", name="toy", overrides={"epochs": 3})
    again.original = json.loads(json.dumps(first.provenance))
    second = run(again)
    assert first.version is not None
    assert second.version is not None
    assert second.items[0]["weights_sha256"] == first.items[0]["weights_sha256"]
    assert second.items[0]["recipe"]["settings"] == {**first.items[0]["recipe"]["settings"], "surprise": False}
    assert second.version.manifest["made_with"] == first.version.manifest["made_with"]


def test_a_job_whose_settings_the_release_does_not_know_any_more_is_a_named_error(
    work: Interrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = {**json.loads(json.dumps(run(work).provenance)), "code_version": "0.2.0"}
    again = job(tmp_path / "again", name="toy", overrides={"epochs": 3})
    again.original = original
    monkeypatch.setitem(KIND.recipes, "plain", Narrower)  # type: ignore[arg-type]
    with pytest.raises(OtherRelease, match=r"recipe plain has changed \(batch: .* release 0.2.0"):
        run(again)
    # and so is a trainer that makes other fits than it made then
    monkeypatch.undo()
    again.original = {**original, "plan": {**original["plan"], "steps": {"network": 12}}}
    with pytest.raises(OtherRelease, match="knows the fits"):
        run(again)


def test_a_parent_stands_in_the_lineage(work: Interrupted, tmp_path: Path) -> None:
    grand = {"name": "first", "version": 1}
    work.versions = {"parent": ModelVersion("second", 2, "toy-fit", tmp_path, {"lineage": [grand]})}
    version = run(work).version
    assert version is not None
    assert version.manifest["parent"] == {"name": "second", "version": 2}
    assert version.manifest["lineage"] == [{"name": "second", "version": 2}, grand]


def events(content: bytes) -> Iterator[Event]:
    """The records of a TensorBoard event file: length (8), its checksum (4), record, its checksum (4)."""
    at = 0
    while at < len(content):
        (length,) = struct.unpack("<Q", content[at : at + 8])
        yield Event.FromString(content[at + 12 : at + 12 + length])
        at += 16 + length


def test_the_curves_are_there_for_people_programs_and_tensorboard(work: Interrupted) -> None:
    """Given the events of the job, then curves.json and the event file hold the same points, and the SVG draws them."""
    found = files(run(work))
    told = {(name, step): value for name, value, step in work.metrics}
    curves = json.loads(found["curves.json"])
    assert {(name, step): value for name, of in curves.items() for step, value in of} == told
    (name,) = (name for name in found if "tfevents" in name)
    seen = [event for event in events(found[name]) if event.HasField("summary")]
    for event in seen:
        (value,) = event.summary.value
        assert value.simple_value == pytest.approx(told[value.tag, event.step], rel=1e-6)
    assert len(seen) == len(told)
    assert found["curves.svg"].startswith(b"<svg")
    assert found["curves.svg"].count(b"<polyline") == 4
    assert found["plot.svg"] == b"<svg/>"


def test_the_card_has_every_field_and_no_date(work: Interrupted) -> None:
    finished = run(work)
    assert finished.version is not None
    text = files(finished)["card.md"].decode()
    for words in (
        "## Intended use\n\nTests.",
        "## Known risks and limits\n\nNot stated.",
        "It beats the simple baseline",
    ):
        assert words in text
    assert "| accuracy | 0.900 (0.800 to 0.950) | 0.900 | 0.500 |" in text
    assert finished.version.manifest["created_at"][:10] not in text


def report(finished: Finished, **changes: Any) -> str:
    artifacts = [{"name": one.name, "media_type": one.media_type, "item": None} for one in finished.artifacts]
    item = {**finished.items[0], **changes}
    result = {"items": [item], "artifacts": artifacts, "warnings": [], "provenance": finished.provenance}
    job_ = {"id": "j1", "kind": "training", "created_at": "now", "finished_at": "later"}
    return render(Report(job_, result, files(finished).__getitem__, None))


def test_the_report_shows_figures_curves_and_card_and_fetches_nothing(work: Interrupted) -> None:
    page = report(run(work), version={"name": "toy<b>", "version": 3})
    for words in ("toy&lt;b&gt;, version 3", "0.900 (0.800 to 0.950)", "It beats the simple baseline coin.", DISCLAIMER,
                  "data:image/svg+xml;base64,", "Intended use", "member-0"):  # fmt: skip
        assert words in page
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_a_version_without_a_test_part_says_so(work: Interrupted) -> None:
    page = report(run(work), metrics={}, baseline={}, beats_baseline=None)
    assert "no figure on cases that the training did not see" in page


def test_an_exported_version_is_one_that_the_catalogue_reads(work: Interrupted, tmp_path: Path) -> None:
    """Given a version in a folder of shipped models, then it is found by name and its weights are as they were."""
    version = run(work).version
    assert version is not None
    folder = export(tmp_path / "shipped", version.manifest, version.files, number=4)
    found = Catalogue.read({tmp_path / "shipped"}).resolve("toy")
    assert (found.version, found.kind, found.folder) == (4, "toy-fit", folder)
    stored = safetensors.torch.load_file(found.folder / "weights.safetensors")
    assert np.isfinite(stored["member-0.0.weight"].numpy()).all()
    assert (folder / "weights.safetensors").read_bytes() == version.files["weights.safetensors"]


@pytest.mark.parametrize("path", ["../up", "/etc/x", "a/../../up", "manifest.json"])
def test_a_file_that_leads_out_of_its_folder_is_not_exported(path: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name"):
        export(tmp_path, {"name": "toy", "version": 1}, {path: b""})
