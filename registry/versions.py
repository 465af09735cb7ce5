"""Model versions as API and workers see them: references resolved, files at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import models
from db.engine import Database
from db.models import PRODUCTION, Pin, Version
from jobs.predicting import ModelVersion
from models.catalogue import UnknownModel
from registry import local
from storage.files import Storage


@dataclass(frozen=True)
class VersionView:
    """A ready version with the aliases that point at it now."""

    name: str
    number: int
    kind: str
    manifest: Mapping[str, Any]
    content: str
    job_id: str | None
    shipped: bool
    caller_id: int | None
    created_at: float
    aliases: tuple[str, ...] = ()


class Registry:
    """The registry over one database and storage. Keeps nothing: what it answers is what stands there now."""

    def __init__(self, db: Database, storage: Storage, cache: Path) -> None:
        """`cache`: folder for local copies of versions, shared by the processes of a host."""
        self._db = db
        self._storage = storage
        self._cache = cache

    def pin(self, reference: str) -> Pin:
        """What `name`, `name@3` or `name@alias` means now, by one indexed query; raises `UnknownModel`."""
        name, _, which = reference.partition("@")
        found = models.pin(self._db, name, which or PRODUCTION)
        if found is None:
            raise self._unknown(name)
        return found

    def resolve(self, reference: str) -> VersionView:
        """The version that a reference means now; raises `UnknownModel`."""
        pin = self.pin(reference)
        return self.get(pin.name, pin.number)

    def get(self, name: str, number: int) -> VersionView:
        """That very version; raises `UnknownModel`."""
        found = models.get(self._db, name, number)
        if found is None:
            raise self._unknown(name)
        return _view(found, self.aliases(name))

    def for_kind(self, kind: str) -> tuple[VersionView, ...]:
        """Every version that serves a kind, by name and then newest first."""
        aliases = {model.name: model.aliases for model in models.models(self._db)}
        return tuple(_view(found, aliases.get(found.name, {})) for found in models.versions(self._db, kind=kind))

    def aliases(self, name: str) -> dict[str, int]:
        """Where each alias of a model points."""
        found = models.models(self._db, name=name)
        return found[0].aliases if found else {}

    def local(self, name: str, number: int) -> ModelVersion:
        """The version as a predictor or trainer takes it, its files in a folder of this host.

        Raises `UnknownModel`, `ModelUnusable` (a file is lost or damaged) or `StorageUnavailable`.
        """
        found = models.get(self._db, name, number)
        if found is None:
            raise self._unknown(name)
        files = models.files(self._db, name, number)
        folder = local.folder(self._storage, self._cache, found.content, files)
        manifest = {**found.manifest, "name": name, "version": number}
        return ModelVersion(name, number, found.kind, folder, manifest)

    def _unknown(self, name: str) -> UnknownModel:
        """Why a reference means nothing, and what would."""
        known = models.models(self._db)
        mine = next((model for model in known if model.name == name), None)
        if mine is None:
            return UnknownModel("There is no model of that name.", tuple(model.name for model in known))
        numbers = [version.number for version in models.versions(self._db, name=name)]
        choices = (*map(str, numbers), *sorted(mine.aliases))
        detail = f"The model {name} has no such version or alias."
        return UnknownModel(detail, tuple(f"{name}@{choice}" for choice in choices))


def _view(found: Version, aliases: Mapping[str, int]) -> VersionView:
    pointing = tuple(sorted(alias for alias, number in aliases.items() if number == found.number))
    return VersionView(**found._asdict(), aliases=pointing)
