"""The wheel stands alone: built, unpacked in an empty folder, it diagnoses an example."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.settings import Settings
from tests.docs.generate import ROOT
from tests.torture.mutations import GUARDS

PACKAGES = {"medjobs", "api", "workers", "models", "db", "broker", "storage", "imaging", "jobs", "registry"}
NUMBERS = {"LEASE_INFERENCE_S", "LEASE_LONG_S"}
"""Settings of a guard that say how long and cannot say no: zero is refused."""


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


def test_no_setting_or_variable_of_the_wheel_switches_a_guard_off(unpacked: Path, tmp_path: Path) -> None:
    """What the torture switches off, it switches off by a file of the tests alone."""
    # Given the wheel, and the seam's folder as the torture lays it out
    assert not [path for path in unpacked.rglob("*") if path.name in ("tests", "torture", "sitecustomize.py")]
    (tmp_path / "off").mkdir()
    for guard in GUARDS:
        (tmp_path / "off" / guard).touch()
    # When a process of the wheel is told of it
    told = {"TORTURE_SEAM": str(tmp_path), "PYTHONPATH": str(unpacked)}
    asked = "import db.jobs, db.submitting, workers.sweeps as s, storage.disk as d\n"
    asked += "for f in (db.jobs.complete, db.jobs.renew, db.jobs.expire_leases, db.submitting._keys,"
    asked += " s.Sweeps.send_unsent, s.Sweeps.send_lost, d.Disk.publish, d.Disk.write_many):"
    asked += " print(f.__code__.co_filename)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", asked], env={**os.environ, **told}, cwd=tmp_path, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    # Then every guard is the wheel's own
    assert len(done.stdout.split()) == 8
    assert all(line.startswith(str(unpacked)) for line in done.stdout.split()), done.stdout
    # And whatever else the wheel reads from the environment, none of it is named after a guard
    ours = [path for path in unpacked.rglob("*.py") if path.relative_to(unpacked).parts[0] in PACKAGES]
    text = "".join(path.read_text() for path in ours)
    read = set(re.findall(r"""environ(?:\.get\(|\[)["'](\w+)["']""", text)) | {f.upper() for f in Settings.model_fields}
    assert {"MEDJOBS_HOME", "LEASE_LONG_S"} <= read
    assert not [
        name
        for name in read
        if any(word in name.lower() for word in (*GUARDS, "torture", "unsafe")) and name not in NUMBERS
    ]


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
