"""The wheel stands alone: built, unpacked in an empty folder, it diagnoses an example."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.generate import ROOT


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel's content; what it depends on comes from the environment that runs the tests."""
    built, site = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", built, ROOT], check=True)
    (wheel,) = built.glob("medjobs-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    return site


def test_the_wheel_carries_weights_migrations_and_examples(unpacked: Path) -> None:
    assert list(unpacked.glob("models/shipped/chest-pneumonia/*/weights.safetensors"))
    assert list(unpacked.glob("db/migrations/versions/*.py"))
    assert len(list(unpacked.glob("medjobs/examples/*.dcm"))) >= 20


def test_medjobs_up_from_the_wheel_serves_a_diagnosis_in_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    # Given the unpacked wheel and an empty folder
    home = tmp_path / "h"
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "MEDJOBS_HOME": str(home)}
    medjobs = [sys.executable, "-P", "-m", "medjobs"]
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import api, models; print(api.__file__, models.__file__)"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.count(str(unpacked)) == 2
    with (tmp_path / "up.log").open("w+") as screen:
        up = subprocess.Popen(
            [*medjobs, "up", "--port", "0", "--flower-port", "0", "--devices", "cpu"],
            env=environment, cwd=tmp_path, stdout=screen, stderr=screen,
        )  # fmt: skip
        try:
            # When the stack is up and an example is submitted
            deadline = time.monotonic() + 120
            while "Ctrl-C" not in (shown := Path(screen.name).read_text()):
                assert up.poll() is None, shown
                assert time.monotonic() < deadline, shown
                time.sleep(0.2)
            example = sorted(unpacked.glob("medjobs/examples/*.dcm"))[0]
            done = subprocess.run(
                [*medjobs, "submit", str(example), "--kind", "diagnosis", "--wait"],
                env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(30)
    # Then a finding comes back
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pneumonia" in done.stdout
