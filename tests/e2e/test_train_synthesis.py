"""From a file of images to a generator: data set, training, what its gate says, and pictures of the shipped one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from medjobs.client import MedjobsError
from models.synthesis.wording import MARK
from tests.services.home import Home
from tests.synthetic_shapes import shapes

SETTINGS = ("width=4", "noise=8", "batch=32", "epochs=2", "baseline_epochs=1", "checked=120", "judge_epochs=1")
RECIPE = ["--recipe", "sn-gan", *(word for setting in SETTINGS for word in ("--set", setting))]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    started = Home(tmp_path_factory.mktemp("g"))
    data = shapes()
    arrays: dict[str, Any] = {}
    for number, part in enumerate(("train", "val", "test")):
        chosen = data.take(data.part(number))
        arrays |= {f"{part}_images": chosen.images, f"{part}_labels": chosen.labels[:, None]}
    np.savez(started.folder / "shapes.npz", **arrays)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def version(home: Home) -> dict[str, Any]:
    """shapes@1, as `medjobs train --watch --json` prints it."""
    options = ["--option", 'classes=["left", "right"]']
    found = home.json("data", "add", "shapes", "--format", "medmnist", "shapes.npz", *options)
    assert found["state"] == "ready", found
    return dict(home.json("train", "synthesis", "--data", "shapes", *RECIPE, "--seed", "1", "--watch"))


def test_a_generator_that_learnt_too_little_is_registered_but_draws_nothing_and_says_which_figure(
    home: Home, version: dict[str, Any]
) -> None:
    gate = version["manifest"]["gate"]
    assert (version["name"], version["version"], gate["passed"]) == ("shapes", 1, False)
    shown = home.json("submit", "--kind", "synthesis", "--model", "shapes@1", "--param", "count=4", "--wait", code=1)
    assert shown["error"]["code"] == "export-refused"
    assert shown["error"]["failures"] == gate["failures"]
    assert gate["failures"][0] in shown["error"]["detail"]


def test_the_training_keeps_the_pictures_of_its_learning_and_shows_them_on_its_report(
    home: Home, version: dict[str, Any]
) -> None:
    with home.client() as client:
        (job,) = client.get("/v1/jobs?kind=training")["jobs"]
        names = [one["name"] for one in client.get(f"/v1/jobs/{job['id']}/result")["artifacts"]]
        report = client.job(job["id"]).artifact("report.html").decode()
        events = [event.data for event in client.job(job["id"]).events() if event.type == "artifact"]
        shown = {event["name"]: client.content(event["href"]) for event in events}
    sheets = [name for name in names if name.startswith("gan-") and name.endswith(".png")]
    assert len(sheets) >= 4
    assert all(name in report and shown[name][:4] == b"\x89PNG" for name in sheets)
    assert [event["step"] for event in events] == [int(event["name"][-10:-4]) for event in events]
    assert "What it had learnt" in report


def test_the_shipped_generator_draws_what_is_asked_for(home: Home) -> None:
    words = ["submit", "--kind", "synthesis", "--model", "chest-gan", "--param", "count=64", "--wait"]
    typed = home.run(*words, "--save", "drawn")
    assert "64 synthetic pictures (32 normal, 32 pneumonia) in synthetic.npz" in typed
    with np.load(home.folder / "drawn" / "synthetic.npz", allow_pickle=False) as archive:
        images = archive["images"]
    assert images.shape == (64, 28, 28)
    assert len(np.unique(images, axis=0)) == 64
    sheet = Image.open(io.BytesIO((home.folder / "drawn" / "sheet.png").read_bytes()))
    assert sheet.size[0] > 900
    page = (home.folder / "drawn" / "report.html").read_text()
    assert MARK in page
    assert "TSTR" in page
    assert "memoriser" in page


def test_what_the_shipped_generator_draws_as_dicom_is_diagnosed_as_any_image_would_be(home: Home) -> None:
    words = ["--param", "count=3", "--param", "class=pneumonia", "--param", "format=dicom", "--wait", "--save", "dicom"]
    home.run("submit", "--kind", "synthesis", *words)
    with zipfile.ZipFile(home.folder / "dicom" / "synthetic-dicom.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".dcm")]
        content = [archive.read(name) for name in names]
    assert all(dcmread(io.BytesIO(one)).SeriesDescription.startswith("SYNTHETIC chest-gan") for one in content)
    for number, one in enumerate(content):
        Path(home.folder / f"drawn-{number}.dcm").write_bytes(one)
    found = home.json("submit", *(f"drawn-{n}.dcm" for n in range(3)), "--wait")
    assert all("findings" in item for item in (found.get("result") or found)["items"])


@pytest.mark.parametrize(("given", "code"), [
    ({"params": {"count": 0}}, "invalid-request"),
    ({"params": {"count": 10**9}}, "invalid-request"),
    ({"params": {"format": "jpeg"}}, "invalid-request"),
    ({"model": "chest-pneumonia"}, "model-of-other-kind"),
    ({"model": "no-such-model"}, "unknown-model"),
])  # fmt: skip
def test_what_cannot_be_is_refused_before_there_is_a_job(home: Home, given: dict[str, Any], code: str) -> None:
    with home.client() as client, pytest.raises(MedjobsError) as refused:
        client.submit("synthesis", **given)
    assert refused.value.code == code


def test_a_class_that_does_not_exist_fails_the_job_with_the_classes_that_do(home: Home) -> None:
    with home.client() as client:
        job = client.submit("synthesis", params={"class": "fracture"}).wait(60)
    assert job.state == "failed"
    assert job.data["error"]["code"] == "bad-input"
    assert "normal, pneumonia" in job.data["error"]["detail"]
