"""One container without Docker: namespaces, a read-only root, the mounts, the user and no capability, as compose says.

`start` runs this same file inside new namespaces (`ip netns exec ... unshare ... python compartment.py`), which mounts
what belongs to the container, changes its root and becomes the service's command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass
class Compartment:
    """What it is made of; `mounts` are (source, target, read only), `tmpfs` are (target, options)."""

    name: str
    root: str
    argv: list[str]
    environment: dict[str, str]
    folder: str
    user: tuple[int, int]
    mounts: list[tuple[str, str, bool]]
    tmpfs: list[tuple[str, str]]
    shm: str = "64m"

    def guard(self) -> list[str]:
        """The command that gives up everything that the container may not have."""
        uid, gid = self.user
        rights = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        return ["/usr/bin/setpriv", *rights, "--inh-caps=-all", "--bounding-set=-all", "--"]


class Running:
    """A started compartment."""

    def __init__(self, what: Compartment, log: IO[bytes]) -> None:
        """Start it in the network namespace of its name."""
        self.what = what
        names = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        command = ["ip", "netns", "exec", what.name, "unshare", *names, sys.executable, "-P", __file__]
        said = json.dumps(asdict(what))
        self.process = subprocess.Popen([*command, said], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def run(self, argv: list[str], timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command in it, as `docker compose exec` runs one: the same user, root and rights."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--uts", "--ipc", "--pid", "--root"]
        enter += [*self.what.guard(), *argv]
        try:
            return subprocess.run(
                enter, env=self.what.environment, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(enter, 124, "", "it took too long")

    @property
    def pid(self) -> int:
        """The service's own process, the first of its namespace."""
        return next((child.pid for child in psutil.Process(self.process.pid).children()), self.process.pid)

    def stop(self, number: int, grace_s: float) -> bool:
        """Send the signal; whether it ended in time (it is killed otherwise)."""
        if self.process.poll() is not None:
            return True
        os.kill(self.pid, number)
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
            return False
        return True


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _place(root: Path, target: str, like: Path | None = None) -> str:
    place = root / target.lstrip("/")
    if like is not None and not like.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch(exist_ok=True)
    else:
        place.mkdir(parents=True, exist_ok=True)
    return str(place)


def enter(what: Compartment) -> None:
    """Mount, change the root, and become the command."""
    root = Path(what.root)
    _mount("--make-rprivate", "/")
    _mount("--bind", str(root), str(root))
    os.chdir(root)
    for target, options in [*what.tmpfs, ("/run/secrets", "mode=0755")]:
        _mount("-t", "tmpfs", "-o", options or "mode=1777", "tmpfs", _place(root, target))
    for source, target, fixed in what.mounts:
        place = _place(root, target, Path(source))
        _mount("--bind", source, place)
        if fixed:
            _mount("-o", "remount,bind,ro", place)
    for folder in ("proc", "dev", "sys"):
        _place(root, folder)
    _mount("-o", "remount,bind,ro", str(root))
    _mount("-t", "proc", "proc", f"{root}/proc")
    _mount("--bind", "-o", "ro", "/sys", f"{root}/sys")
    _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", f"{root}/dev")
    for name in DEVICES:
        Path(f"{root}/dev/{name}").touch()
        _mount("--bind", f"/dev/{name}", f"{root}/dev/{name}")
    Path(f"{root}/dev/shm").mkdir()
    _mount("-t", "tmpfs", "-o", f"mode=1777,size={what.shm}", "tmpfs", f"{root}/dev/shm")
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")):
        Path(f"{root}/dev/{name}").symlink_to(target)
    subprocess.run(["hostname", what.name], check=True)
    os.chroot(root)
    os.chdir(what.folder)
    os.execve("/usr/bin/setpriv", [*what.guard(), *what.argv], what.environment)


if __name__ == "__main__":
    enter(Compartment(**json.loads(sys.argv[1])))
