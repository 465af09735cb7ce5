"""What a compose file says of each service, read as far as this project's own files go."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<how>[-?])(?P<rest>[^}]*))?\})")


@dataclass
class Service:
    """One container of a service; a service with replicas has several."""

    name: str
    service: str
    raw: dict[str, Any]
    needs: dict[str, str] = field(default_factory=dict)
    """Services and the condition on each; those of profiles that are off are left out."""

    @property
    def once(self) -> bool:
        """Whether it does something and ends."""
        return self.raw.get("restart") == "no"

    @property
    def image(self) -> str:
        """Its image without the tag."""
        return str(self.raw["image"]).rpartition(":")[0]

    @property
    def ours(self) -> bool:
        """Whether it runs from the image that this repository builds."""
        return self.image == "medjobs"

    @property
    def test(self) -> list[str]:
        """The healthcheck's command."""
        kind, *words = self.raw["healthcheck"]["test"]
        return ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words

    @property
    def user(self) -> tuple[int, int]:
        """Its user and group."""
        uid, gid = str(self.raw["user"]).split(":")
        return int(uid), int(gid)


def read(file: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The file with its anchors merged and its variables replaced."""
    loaded = YAML(typ="safe").load(file.read_text())
    described = loaded["services"]
    for name, raw in described.items():
        if base := raw.pop("extends", None):
            other = YAML(typ="safe").load((file.parent / base["file"]).read_text())
            described[name] = {**other["services"][base["service"]], **raw}
    return {k: v for k, v in _replace(loaded, environ).items() if not k.startswith("x-")}


def services(file: Path, profiles: set[str]) -> list[Service]:
    """The containers that `docker compose up` with these profiles makes, in the order in which they may start."""
    described = read(file)["services"]
    on = {name: raw for name, raw in described.items() if profiles.issuperset(raw.get("profiles", ()))}
    ordered: list[str] = []

    def place(name: str) -> None:
        for other in on[name].get("depends_on", {}):
            if other in on:
                place(other)
        if name not in ordered:
            ordered.append(name)

    for name in on:
        place(name)
    return [one for name in ordered for one in _containers(name, on[name], set(on))]


def _containers(name: str, raw: dict[str, Any], on: set[str]) -> list[Service]:
    needs = {k: v["condition"] for k, v in raw.get("depends_on", {}).items() if k in on}
    count = raw.get("deploy", {}).get("replicas", 1)
    names = [name] if count == 1 else [f"{name}-{number + 1}" for number in range(count)]
    return [Service(one, name, raw, needs) for one in names]


def _replace(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replace(one, environ) for key, one in value.items()}
    if isinstance(value, list):
        return [_replace(one, environ) for one in value]
    if not isinstance(value, str):
        return value

    def put(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "$"
        given = environ.get(found["name"], "")
        if not given and found["how"] == "?":
            raise KeyError(f"{found['name']}: {found['rest']}")
        return given or (found["rest"] or "")

    return _VARIABLE.sub(put, value)
