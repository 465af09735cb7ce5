"""The model versions that the kinds ship: read from their folders, pinned by name@version or name@alias."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jobs.kinds import Kind
from jobs.predicting import ModelVersion
from models.registry import kinds

DEFAULT_ALIAS = "production"


class UnknownModel(LookupError):
    """No such model, version or alias; `known` lists what there is."""

    def __init__(self, detail: str, known: tuple[str, ...]) -> None:
        """`detail` says what was asked for, `known` the names that would have been found."""
        self.known = known
        super().__init__(detail)


class Catalogue:
    """Every model version on disk. Reading it imports no torch."""

    def __init__(self, versions: Mapping[str, Mapping[int, ModelVersion]], aliases: Mapping[str, Mapping[str, int]]):
        """`versions`: name -> number -> version; `aliases`: name -> alias -> number."""
        self.versions = versions
        self.aliases = aliases

    @classmethod
    def read(cls, folders: set[Path]) -> Catalogue:
        """The catalogue of `<folder>/<name>/<version>/manifest.json` and `<folder>/<name>/aliases.json`."""
        versions: dict[str, dict[int, ModelVersion]] = {}
        aliases: dict[str, dict[str, int]] = {}
        for path in sorted(path for folder in folders for path in folder.glob("*/*/manifest.json")):
            manifest = json.loads(path.read_text())
            version = ModelVersion(manifest["name"], manifest["version"], manifest["kind"], path.parent, manifest)
            versions.setdefault(version.name, {})[version.version] = version
            named = path.parent.parent / "aliases.json"
            aliases[version.name] = json.loads(named.read_text()) if named.exists() else {}
        return cls(versions, aliases)

    def get(self, name: str, version: int) -> ModelVersion:
        """The version that a job pinned; raises `UnknownModel`."""
        return self.resolve(f"{name}@{version}")

    def resolve(self, reference: str) -> ModelVersion:
        """The version that `name`, `name@3` or `name@alias` means now; raises `UnknownModel`."""
        name, _, which = reference.partition("@")
        if name not in self.versions:
            raise UnknownModel("There is no model of that name.", tuple(self.versions))
        number = int(which) if which.isdecimal() else self.aliases[name].get(which or DEFAULT_ALIAS)
        if number is None or number not in self.versions[name]:
            choices = (*map(str, self.versions[name]), *self.aliases[name])
            raise UnknownModel(f"The model {name} has no such version or alias.", tuple(f"{name}@{c}" for c in choices))
        return self.versions[name][number]

    def for_kind(self, kind: Kind) -> tuple[ModelVersion, ...]:
        """Every version that serves `kind`, newest first within a name."""
        found = [v for by_number in self.versions.values() for v in by_number.values() if v.kind == kind.name]
        return tuple(sorted(found, key=lambda v: (v.name, -v.version)))


@cache
def catalogue() -> Catalogue:
    """The catalogue of every known kind, read once per process."""
    return Catalogue.read({kind.shipped for kind in kinds().values() if kind.shipped is not None})
