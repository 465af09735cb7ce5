"""The versions that come with the installed kinds, copied into database and storage: a pin outlives the release."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from db import models
from db.engine import Database
from db.models import PRODUCTION
from db.refusals import OtherKind
from jobs.predicting import ModelVersion
from models.catalogue import Catalogue, catalogue
from registry.content import content_of, described, put
from storage.files import Storage

log = logging.getLogger("medjobs.registry")

MANIFEST = "manifest.json"
"""Stands in the version's row and not among its files."""


def import_shipped(db: Database, storage: Storage, source: Catalogue | None = None) -> list[str]:
    """Register what is not registered yet; the references that are new. Safe in several processes at once.

    Numbers are given in the order of registration. `production` follows a newer release as long as nobody moved it to
    a version of their own.
    """
    found = source or catalogue()
    new: list[str] = []
    for name in sorted(found.versions):
        try:
            new += _import_model(db, storage, found, name)
        except OtherKind:
            log.warning("the shipped model %s is left out: the name belongs to a model of another kind", name)
    return new


def _import_model(db: Database, storage: Storage, found: Catalogue, name: str) -> Iterable[str]:
    known = {version.content: version.number for version in models.versions(db, name=name)}
    for _, version in sorted(found.versions[name].items()):
        files = _files(version.folder)
        content = content_of(described(files))
        if content in known:
            continue
        made = models.add(
            db, name=name, kind=version.kind, caller_id=None, content=content, manifest=version.manifest,
            files=put(storage, files), shipped=True, alias=None,
        )  # fmt: skip
        known[content] = made.number
        if not made.existing:
            log.info("the shipped model %s@%d is registered", name, made.number)
            yield f"{name}@{made.number}"
    _follow(db, found, name, known)


def _follow(db: Database, found: Catalogue, name: str, known: dict[str, int]) -> None:
    """Point `production` at what the release says, unless a person pointed it elsewhere."""
    wanted = found.aliases.get(name, {}).get(PRODUCTION)
    if wanted is None:
        return
    number = known[content_of(described(_files(_version(found, name, wanted).folder)))]
    moves = models.history(db, name, PRODUCTION)
    if moves and (moves[0].by is not None or moves[0].after >= number):
        return
    models.move_alias(db, name, PRODUCTION, number, caller_id=None, reason="shipped with this release")


def _version(found: Catalogue, name: str, number: int) -> ModelVersion:
    return found.versions[name][number]


def _files(folder: Path) -> dict[str, bytes]:
    """The files of a shipped version by their paths below its folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
