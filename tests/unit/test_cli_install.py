"""The installer: which torch it asks for, when it does nothing, and what it says when it cannot."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

INSTALL = Path(__file__).parents[2] / "examples" / "install.py"


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", INSTALL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def asked(install: ModuleType) -> list[str]:
    return [" ".join(command) for command in install.torch_commands(Path("python"))]


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has one build of torch for all")
def test_without_a_driver_the_cpu_build_is_tried_first_and_the_usual_one_last(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "wants_cuda", lambda: False)
    monkeypatch.setattr(install, "_reachable", lambda url: True)
    first, second, last = asked(install)
    assert first.endswith(f"torch==2.13.0+cpu --extra-index-url {install.CPU_INDEX}")
    assert second.endswith("torch==2.13.0+cpu")
    assert last.endswith("torch==2.13.0")
    monkeypatch.setattr(install, "_reachable", lambda url: False)
    assert asked(install) == [second, last]


def test_with_a_driver_the_cuda_build_is_taken(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "wants_cuda", lambda: True)
    monkeypatch.setattr(install, "_reachable", lambda url: pytest.fail("nothing is to be asked"))
    assert [command.endswith("torch==2.13.0") for command in asked(install)] == [True]


def test_torch_is_pinned_as_in_pyproject(install: ModuleType) -> None:
    assert f'"torch=={install.TORCH}"' in (install.ROOT / "pyproject.toml").read_text()


def test_an_environment_that_fits_is_left_alone(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "_install", lambda venv, dev: pytest.fail("nothing is to be installed"))
    (tmp_path / "medjobs-installed").write_text(install._fingerprint(True))
    for typed in ([], ["--dev"]):
        monkeypatch.setattr(sys, "argv", ["install.py", "--venv", str(tmp_path), *typed])
        assert install.main() == 0
    assert "up to date" in capsys.readouterr().out


def test_an_environment_of_another_pyproject_is_installed_again(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[bool] = []
    monkeypatch.setattr(install, "_install", lambda venv, dev: bool(done.append(dev)))
    monkeypatch.setattr(sys, "argv", ["install.py", "--venv", str(tmp_path)])
    (tmp_path / "medjobs-installed").write_text("of an older pyproject.toml")
    assert (install.main(), install.main()) == (0, 0)
    assert done == [False], "the second time it fits"


def test_an_environment_without_the_tools_does_not_do_for_development(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[bool] = []
    monkeypatch.setattr(install, "_install", lambda venv, dev: bool(done.append(dev)))
    (tmp_path / "medjobs-installed").write_text(install._fingerprint(False))
    monkeypatch.setattr(sys, "argv", ["install.py", "--venv", str(tmp_path), "--dev"])
    install.main()
    assert done == [True]


def test_an_old_python_is_told_how_to_name_a_newer_one(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "LEAST", (99, 0))
    monkeypatch.setattr(sys, "argv", ["install.py"])
    assert install.main() == 1
    assert "PYTHON=" in capsys.readouterr().err


def test_what_pip_said_is_shown_when_a_step_fails(install: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    say = "import sys; print('no matching distribution'); sys.exit(1)"
    assert install._first([[sys.executable, "-c", "raise SystemExit(1)"], [sys.executable, "-c", say]]) == 1
    assert "no matching distribution" in capsys.readouterr().err
