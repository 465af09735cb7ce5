"""`make image-check`: build the Dockerfile and start every service of docker-compose.yml, all of it without Docker.

It needs Linux, root, and Debian's packages buildah, debootstrap, iproute2 and util-linux. No image registry is asked:
our own image is built on a Debian made here, and PostgreSQL, Redis and Prometheus are Debian's. Each container has a
read-only root, its tmpfs and volumes, its user, no capability, an address on a bridge and its names by DNS, as Docker
gives them. Memory and CPU limits are not enforced.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.check.composed import services
from deploy.check.scene import ENTRYPOINTS, Scene
from deploy.check.trees import IMAGE, Trees
from deploy.check.watching import Watch

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("buildah", "debootstrap", "ip", "unshare", "nsenter", "setpriv")
INSIDE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
REAPER = ["sh", "-c", '"$@"; exit $?', "init"]
"""First of the process namespace: it reaps what a healthcheck that took too long leaves, or no container could end."""


def main() -> int:
    """The exit code: 0 where every service that could be started became healthy."""
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for trees and layers (some 8 GB), kept for the next check")
    parser.add_argument("--profiles", default="gpu,monitoring", help="profiles beside the default services")
    parser.add_argument("--torch-index", default="", help="TORCH_INDEX of the build (default: as pip is configured)")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for all to become healthy")
    parser.add_argument("--built", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print(f"image-check needs root and, as Debian packages, buildah debootstrap iproute2 util-linux ({missing})")
        return 2
    if given.work is None:
        with tempfile.TemporaryDirectory(prefix="medjobs-image-") as folder:
            return subprocess.call([sys.executable, "-m", "deploy.check", *sys.argv[1:], "--work", folder], cwd=ROOT)
    given.work.mkdir(parents=True, exist_ok=True)
    trees = Trees(given.work.resolve(), [f"--build-arg=TORCH_INDEX={given.torch_index}"])
    if given.built is None:
        try:
            tree, config = trees.image(ROOT)
            trees.others()
            print(f"built {IMAGE}, {_size(tree)}", flush=True)
            again = [sys.executable, "-m", "deploy.check", *sys.argv[1:], "--built", str(tree)]
            environ = {**os.environ, "IMAGE_CONFIG": _json(config)}
            return subprocess.call([*INSIDE, *REAPER, *again], cwd=ROOT, env=environ)
        finally:
            trees.close()
    return _watch(given, trees)


def _watch(given: argparse.Namespace, trees: Trees) -> int:
    found = services(ROOT / "docker-compose.yml", set(given.profiles.split(",")))
    ours = [one for one in found if one.ours or one.image in ENTRYPOINTS]
    scene = Scene(trees.work, ROOT, trees.others(), (given.built, _parsed(os.environ["IMAGE_CONFIG"])))
    scene.connect(ours)
    watch = Watch(scene, ours)
    watch.until_healthy(given.limit)
    watch.look_inside()
    watch.run_a_job()
    watch.stop()
    return watch.say([one for one in found if one not in ours])


def _size(tree: Path) -> str:
    said = subprocess.run(["du", "-sm", str(tree)], capture_output=True, text=True, check=True).stdout
    return f"{said.split()[0]} MB"


def _json(config: object) -> str:
    import json

    return json.dumps(config)


def _parsed(text: str) -> dict[str, object]:
    import json

    found = json.loads(text)
    assert isinstance(found, dict)
    return found


if __name__ == "__main__":
    sys.exit(main())
