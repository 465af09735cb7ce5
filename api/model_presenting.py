"""Models and versions of the registry as the API answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from api.auth import owner
from api.presenting import moment
from db import models as rows
from db.engine import Database
from db.models import AliasMove, Model, Version
from db.records import VersionFile


def model_json(model: Model, versions: Sequence[Version]) -> dict[str, Any]:
    """A model; `versions` are its own, newest first."""
    return {
        "name": model.name,
        "kind": model.kind,
        "yours": may_change(model),
        "aliases": dict(sorted(model.aliases.items())),
        "gate": model.gate,
        "versions": [summary(version, model.aliases) for version in versions],
    }


def may_change(model: Model) -> bool:
    """Whether this request's caller owns the name, or is an admin; shipped names are the admins'."""
    caller = owner()
    return caller is None or caller == model.caller_id


def summaries(database: Database, kind: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Kind -> its versions in short, by name and then newest first."""
    aliases = {model.name: model.aliases for model in rows.models(database)}
    found: dict[str, list[dict[str, Any]]] = {}
    for version in rows.versions(database, kind=kind):
        found.setdefault(version.kind, []).append(summary(version, aliases.get(version.name, {})))
    return found


def summary(version: Version, aliases: Mapping[str, int]) -> dict[str, Any]:
    """A version in short."""
    metrics = version.manifest.get("metrics") or {}
    return {
        "name": version.name,
        "version": version.number,
        "kind": version.kind,
        "summary": version.manifest.get("summary", ""),
        "aliases": names_of(version.number, aliases),
        "created_at": moment(version.created_at),
        "metrics": {"test": metrics["test"]} if "test" in metrics else {},
        "href": version_path(version.name, version.number),
    }


def version_json(
    version: Version, aliases: Mapping[str, int], lineage: Sequence[Version], files: Sequence[VersionFile]
) -> dict[str, Any]:
    """A version with all that is known of it; `lineage` begins with itself."""
    path = version_path(version.name, version.number)
    return {
        "name": version.name,
        "version": version.number,
        "kind": version.kind,
        "aliases": names_of(version.number, aliases),
        "job": version.job_id,
        "lineage": [{"name": one.name, "version": one.number} for one in lineage],
        "files": [
            {"path": file.path, "id": file.digest, "size": file.size, "href": f"{path}/files/{quote(file.path)}"}
            for file in files
        ],
        "manifest": {**version.manifest, "name": version.name, "version": version.number},
    }


def move_json(name: str, move: AliasMove) -> dict[str, Any]:
    """One entry of an alias's history."""
    return {
        "name": name,
        "alias": move.alias,
        "before": move.before,
        "after": move.after,
        "at": moment(move.at),
        "by": move.by,
        "reason": move.reason,
        "gate": move.gate,
    }


def names_of(number: int, aliases: Mapping[str, int]) -> list[str]:
    """The aliases that mean this version."""
    return sorted(alias for alias, meant in aliases.items() if meant == number)


def version_path(name: str, number: int) -> str:
    """Rooted path of a version."""
    return f"/v1/models/{name}/versions/{number}"
