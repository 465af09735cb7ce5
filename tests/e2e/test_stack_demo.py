"""The demos as a stranger types them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medjobs.breaking import Load, break_it

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toy_kind"


def left(home: Path) -> list[str]:
    """Command lines of processes that were started for that home."""
    mark = f"MEDJOBS_HOME={home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


def demo(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDJOBS_")}
    command = [sys.executable, "-P", "-m", "medjobs", "demo", "--home", str(tmp_path / "home"), *options]
    return subprocess.run(
        command, env={**environment, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )


def test_the_demo_shows_findings_pictures_report_and_flower_and_leaves_nothing_running(tmp_path: Path) -> None:
    # When the demo runs
    done = demo(tmp_path, "--save", str(tmp_path / "results"))
    assert done.returncode == 0, done.stdout + done.stderr
    # Then the screen has what was promised
    for promised in ("SYNTHETIC", "Research use only", "pneumonia", "chest-01.dcm", "state=SUCCESS", "uncertainty"):
        assert promised in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if str(tmp_path) not in line) <= 100
    # And the files are there
    (report,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Report")]
    assert "<html" in Path(report).read_text()[:1000].lower()
    assert list((tmp_path / "results").glob("*.png"))
    # And nothing runs any more
    assert left(tmp_path / "home") == []


def test_whatever_breaks_while_40_jobs_run_the_ledger_balances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given toy jobs, so that it needs no model
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), str(ROOT)]))
    files = [tmp_path / str(number) for number in range(24)]
    for number, path in enumerate(files):
        path.write_bytes(bytes([number + 1]))
    # When a worker is killed, Redis flushed and a worker frozen while they run
    code = break_it(tmp_path / "home", Load(files, "toy-mean", {"sleep_s": 0.02}))
    # Then every job was committed once, some of them by another worker than the first
    shown = capsys.readouterr().out
    assert code == 0, shown
    entries = [line for line in shown.partition("Ledger\n")[2].splitlines() if line.startswith("  ")]
    counts = {line[2:18].strip(): int(line[18:].split()[0]) for line in entries}
    assert counts["accepted"] == counts["committed"] == 40
    assert counts["lost"] == counts["committed twice"] == 0
    assert counts["rescued"] >= 2
    assert left(tmp_path / "home") == []


def test_the_demo_says_what_to_do_where_there_are_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from medjobs import samples
    from medjobs.main import main

    monkeypatch.setattr(samples, "chest_images", list)
    done = CliRunner().invoke(main, ["demo"])
    assert done.exit_code == 1
    assert "full clone" in done.output
