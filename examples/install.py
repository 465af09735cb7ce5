"""Make the virtual environment and install medjobs into it: `python3 examples/install.py --venv .venv [--dev]`.

Standard library only. Safe to repeat: it does nothing where the environment already fits pyproject.toml. On Linux
without an NVIDIA driver it takes the CPU build of torch, which spares several GB of CUDA libraries.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of CPU builds; PyPI has only the CUDA build for Linux."""

LEAST = (3, 11)


def main() -> int:
    """Install what is missing; returns the exit code."""
    parser = argparse.ArgumentParser(description="Install medjobs into a virtual environment.")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="folder of the environment (default: .venv)")
    parser.add_argument("--dev", action="store_true", help="with the tools that tests and checks need")
    given = parser.parse_args()
    if sys.version_info < LEAST:
        return _fail(
            f"medjobs needs Python {LEAST[0]}.{LEAST[1]} or newer; this is {platform.python_version()}.",
            "Name a newer one: make demo PYTHON=python3.12",
        )
    venv: Path = given.venv.absolute()
    if _stamp(venv).is_file() and _stamp(venv).read_text() in _fitting(given.dev):
        print(f"{_shown(venv)} is up to date.")
        return 0
    started = time.monotonic()
    done = _install(venv, given.dev)
    if done == 0:
        _stamp(venv).write_text(_fingerprint(given.dev))
        _line("all together", _size(venv), time.monotonic() - started)
    return done


def _install(venv: Path, dev: bool) -> int:
    python = venv / "bin" / "python"
    if not python.exists():
        print(f"Installing into {_shown(venv)} (each step: disk space, time)", flush=True)
        if _step("virtual environment", venv, lambda: _run([sys.executable, "-m", "venv", str(venv)])):
            return _fail("The virtual environment cannot be made.", "On Debian or Ubuntu: apt install python3-venv")
    if not _has_torch(python):
        name = f"torch {TORCH} ({'CUDA' if wants_cuda() else 'CPU'} build)"
        if _step(name, venv, lambda: _first(torch_commands(python))):
            return _fail("torch could not be installed.", "Read what pip said above; it needs PyPI or a mirror of it.")
    target = str(ROOT) + ("[dev]" if dev else "")
    name = "medjobs and what it needs" + (", tests and checks included" if dev else "")
    if _step(name, venv, lambda: _run([*_pip(python), "--editable", target])):
        return _fail("medjobs could not be installed.", "Read what pip said above; it needs PyPI or a mirror of it.")
    return 0


def wants_cuda() -> bool:
    """Whether an NVIDIA driver is loaded here (Linux only; macOS has one build for all)."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def torch_commands(python: Path) -> list[list[str]]:
    """Ways to get torch, the best first: the CPU build from PyTorch's index, from pip's own sources, the usual one."""
    usual = [*_pip(python), f"torch=={TORCH}"]
    if wants_cuda() or platform.system() != "Linux":
        return [usual]
    cpu = [*_pip(python), f"torch=={TORCH}+cpu"]
    reached = [[*cpu, "--extra-index-url", CPU_INDEX]] if _reachable(CPU_INDEX + "/torch/") else []
    return [*reached, cpu, usual]


def _reachable(url: str) -> bool:
    """Asked once and briefly: pip would try an index that is out of reach again for every package."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=8):  # noqa: S310  constant
            return True
    except (urllib.error.URLError, OSError):
        return False


def _pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]


def _has_torch(python: Path) -> bool:
    look = "import importlib.metadata as m, sys; sys.exit(m.version('torch').partition('+')[0] != sys.argv[1])"
    return subprocess.run([str(python), "-c", look, TORCH], capture_output=True, check=False).returncode == 0


def _first(commands: Sequence[Sequence[str]]) -> int:
    """Run the commands until one succeeds; what the last one said is shown if none does."""
    for command in commands[:-1]:
        if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0:
            return 0
    return _run(commands[-1])


def _run(command: Sequence[str]) -> int:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(f"\n{done.stdout.rstrip()[-4000:]}", file=sys.stderr)
    return done.returncode


def _step(name: str, venv: Path, work: Callable[[], int]) -> int:
    before, started = _size(venv), time.monotonic()
    if sys.stdout.isatty():
        print(f"  {name} ...", end="\r", flush=True)
    code = work()
    if code == 0:
        _line(name, _size(venv) - before, time.monotonic() - started)
    return code


def _line(name: str, size: int, seconds: float) -> None:
    print(f"  {name:<58} {size / 1e6:7.0f} MB {seconds:6.0f} s", flush=True)


def _size(folder: Path) -> int:
    """Bytes of all files below `folder`, links not followed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(place, name)).st_size
    return total


def _stamp(venv: Path) -> Path:
    return venv / "medjobs-installed"


def _fitting(dev: bool) -> set[str]:
    """Fingerprints that are good enough: an environment for development serves the demo too."""
    return {_fingerprint(True)} | (set() if dev else {_fingerprint(False)})


def _fingerprint(dev: bool) -> str:
    """Changes with pyproject.toml, with the place of the clone (the install is editable) and with the extras."""
    facts = f"{dev} {ROOT} {TORCH} {wants_cuda()} ".encode() + (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(facts).hexdigest()


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _fail(happened: str, remedy: str) -> int:
    print(f"{happened}\n  do:  {remedy}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
