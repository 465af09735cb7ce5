"""All compartments on one bridge, with a name server: what `docker compose up` makes, in namespaces of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from deploy.check import names
from deploy.check.compartment import Compartment, Running
from deploy.check.composed import Service

BRIDGE = "10.97.0.1"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin"

POSTGRES = """
PGDATA=/var/lib/postgresql/data; export PGDATA
initdb -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS > /dev/null
echo "host all all all scram-sha-256" >> $PGDATA/pg_hba.conf
pg_ctl -w -o "-c listen_addresses=" start > /dev/null
createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
pg_ctl -w stop > /dev/null
exec "$@" -c "listen_addresses=*"
"""
"""What the official image's entrypoint does on an empty volume; Debian's package has none."""

ENTRYPOINTS = {
    "postgres": ["/bin/sh", "-ec", POSTGRES, "postgres"],
    "redis": [],
    "prom/prometheus": ["prometheus"],
}
"""Images whose programs Debian packages, and what the official image puts before the command."""


class Scene:
    """Starts services; everything ends with this process, whose namespaces these are."""

    def __init__(self, work: Path, source: Path, others: Path, image: tuple[Path, dict[str, Any]]) -> None:
        """Empties the volumes of the check before."""
        self.work, self.source, self.others = work, source, others
        self._tree, self._config = image
        for folder in ("volumes", "logs", "secrets"):
            shutil.rmtree(work / folder, ignore_errors=True)
            (work / folder).mkdir()
        subprocess.run(
            ["sh", str(source / "deploy/secrets.sh"), str(work / "secrets")], check=True, stdout=subprocess.DEVNULL
        )
        (work / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (work / "resolv.conf").write_text(f"nameserver {BRIDGE}\noptions ndots:0\n")
        self._described: dict[str, Any] = {}

    def connect(self, found: list[Service]) -> None:
        """One network namespace per container, on one bridge, and the names."""
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "bridge", "type", "bridge")
        _ip("addr", "add", f"{BRIDGE}/24", "dev", "bridge")
        _ip("link", "set", "bridge", "up")
        addresses: dict[str, list[str]] = {}
        for number, service in enumerate(found, start=2):
            address = f"10.97.0.{number}"
            addresses.setdefault(service.service, []).append(address)
            _ip("netns", "add", service.name)
            _ip("link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", service.name)
            _ip("link", "set", f"v{number}", "master", "bridge", "up")
            for words in (("link", "set", "lo", "up"), ("addr", "add", f"{address}/24", "dev", "eth0")):
                _ip("-n", service.name, *words)
            _ip("-n", service.name, "link", "set", "eth0", "up")
        names.serve(BRIDGE, addresses)

    def start(self, service: Service) -> Running:
        """The container of a service: its image's configuration under that of the compose file."""
        ours = service.ours
        raw, tree = service.raw, self._tree if ours else self.others
        entrypoint = raw.get("entrypoint") or (self._config["Entrypoint"] if ours else ENTRYPOINTS[service.image])
        image = dict(pair.split("=", 1) for pair in self._config["Env"]) if ours else {"PATH": PATH}
        given = {key: str(value) for key, value in raw.get("environment", {}).items()}
        what = Compartment(
            name=service.name,
            root=str(tree),
            argv=[*entrypoint, *raw.get("command", ())],
            environment={**image, **given, "HOSTNAME": service.name},
            folder=self._config["WorkingDir"] if ours else "/",
            user=service.user,
            mounts=self._mounts(service, tree),
            tmpfs=[(one.partition(":")[0], one.partition(":")[2]) for one in raw.get("tmpfs", ())],
            shm=raw.get("shm_size", "64m").replace("mb", "m").replace("gb", "g"),
        )
        with (self.work / "logs" / f"{service.name}.log").open("ab") as log:
            return Running(what, log)

    def _mounts(self, service: Service, tree: Path) -> list[tuple[str, str, bool]]:
        mounts = [(str(self.work / name), f"/etc/{name}", True) for name in ("resolv.conf", "hosts")]
        for one in service.raw.get("volumes", ()):
            source, _, rest = one.rpartition(":") if one.endswith(":ro") else (one, "", "")
            source, _, target = (source if rest == "ro" else one).partition(":")
            if not target:
                mounts.append((self._volume(f"{service.name}{source.replace('/', '-')}", tree, source), source, False))
            elif source.startswith("."):
                mounts.append((str((self.source / source).resolve()), target, rest == "ro"))
            else:
                mounts.append((self._volume(source, tree, target), target, rest == "ro"))
        given = service.raw.get("secrets", ())
        return mounts + [(str(self.work / "secrets" / one), f"/run/secrets/{one}", True) for one in given]

    def _volume(self, name: str, tree: Path, target: str) -> str:
        """A new volume gets what the image has in its place, owners included."""
        folder = self.work / "volumes" / name
        if not folder.exists():
            subprocess.run(["cp", "-a", str(tree / target.lstrip("/")), str(folder)], check=True)
        return str(folder)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, env={**os.environ, "LC_ALL": "C"})
