"""The trees that containers run from: the image as the Dockerfile builds it, and Debian's packages of the others.

No image registry is asked. The base of ours is a Debian of debootstrap with its own Python, and apt and pip work in it
as they are configured on this host: its indexes, its folders of wheels and its certificates are mounted for the build.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

BASE = "localhost/python-debian:check"
IMAGE = "localhost/medjobs:check"
SUITE = "bookworm"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

PREPARE = """
groupadd -g 999 postgres && useradd -u 999 -g 999 -d /var/lib/postgresql postgres
groupadd -o -g 999 redis && useradd -o -u 999 -g 999 -d /data redis
apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  postgresql-15 redis-server prometheus wget > /dev/null
install -d -o 999 -g 999 /var/lib/postgresql/data /data && install -d -o 65534 -g 65534 /prometheus
"""
"""Users by the numbers that they have in the official images, made before Debian's packages look for them."""


class Trees:
    """All of them under one folder, which may be kept for the next check."""

    def __init__(self, work: Path, arguments: list[str]) -> None:
        """`arguments` are for `buildah bud`: build arguments, further mounts."""
        self.work, self.arguments = work, arguments
        self._buildah = ["buildah", "--root", str(work / "store"), "--runroot", str(work / "run")]
        self._environ = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def debian(self) -> Path:
        """A Debian with Python, from its package archive."""
        tree = self.work / "debian"
        if not (tree / "ready").exists():
            shutil.rmtree(tree, ignore_errors=True)
            packages = "ca-certificates,python3,python3-venv"
            archive = os.environ.get("DEBIAN_ARCHIVE", "http://deb.debian.org/debian")
            command = ["debootstrap", "--variant=minbase", f"--include={packages}", SUITE, str(tree), archive]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (tree / "usr/bin/python").symlink_to("python3")
            said = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
            kept = [line for line in said.splitlines() if line.startswith("Acquire::") and '"";' not in line]
            (tree / "etc/apt/apt.conf.d/99host").write_text("\n".join(kept) + "\n")
            (tree / "ready").touch()
        return tree

    def others(self) -> Path:
        """PostgreSQL, Redis and Prometheus as Debian packages them."""
        tree = self.work / "others"
        if not (tree / "prepared").exists():
            shutil.rmtree(tree, ignore_errors=True)
            subprocess.run(["cp", "-a", str(self.debian()), str(tree)], check=True)
            shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
            subprocess.run(["chroot", str(tree), "sh", "-ec", PREPARE], check=True, stdout=subprocess.DEVNULL)
            (tree / "prepared").touch()
        return tree

    def image(self, source: Path) -> tuple[Path, dict[str, Any]]:
        """Build the Dockerfile; the tree and what the image says of itself (Env, Entrypoint, WorkingDir, User)."""
        self._base()
        given = [f"--build-arg=PYTHON_IMAGE={BASE}", *self._pip(), *self.arguments]
        self._run("bud", "--isolation=chroot", "--layers", "-t", IMAGE, *given, str(source))
        told = json.loads(self._said("inspect", "--type=image", IMAGE))
        for old in self._said("containers", "-q").split():
            self._run("rm", old)
        container = self._said("from", "--pull-never", IMAGE).strip()
        return Path(self._said("mount", container).strip()), told["OCIv1"]["config"]

    def close(self) -> None:
        """Undo buildah's mounts, which would outlive this process: its folder could not be deleted."""
        self._run("umount", "--all")
        for mounted in (self.work / "store").iterdir():
            if mounted.is_mount():
                subprocess.run(["umount", str(mounted)], check=True)

    def _base(self) -> None:
        if BASE in self._said("images", "--format", "{{.Name}}:{{.Tag}}").split():
            return
        folder = self.work / "base"
        folder.mkdir(exist_ok=True)
        subprocess.run(["tar", "-C", str(self.debian()), "-cf", str(folder / "root.tar"), "."], check=True)
        (folder / "Dockerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["python3"]\n')
        self._run("bud", "--isolation=chroot", "-t", BASE, str(folder))
        (folder / "root.tar").unlink()

    def _pip(self) -> list[str]:
        """Mounts that make pip in the build look where pip on this host looks."""
        said = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=True).stdout
        options = {}
        for line in said.splitlines():
            key, _, value = line.partition("=")
            options[key.rpartition(".")[2]] = value.strip("'")
        written = configparser.ConfigParser(interpolation=None)
        written["global"] = options
        with (self.work / "pip.conf").open("w") as file:
            written.write(file)
        words = [word.removeprefix("file://") for value in options.values() for word in value.split()]
        paths = {_outermost(Path(word)) for word in words if word.startswith("/")} | {CERTIFICATES}
        mounts = [f"--volume={path}:{path}:ro" for path in sorted(paths) if path.exists()]
        return [f"--volume={self.work / 'pip.conf'}:/etc/pip.conf:ro", *mounts]

    def _run(self, *words: str) -> None:
        subprocess.run([*self._buildah, *words], env=self._environ, check=True)

    def _said(self, *words: str) -> str:
        command = [*self._buildah, *words]
        return subprocess.run(command, env=self._environ, check=True, capture_output=True, text=True).stdout


def _outermost(path: Path) -> Path:
    """A simple index links to files beside it, so its parent comes along."""
    return path.parent if path.name == "simple" else path
