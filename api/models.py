"""GET /v1/models: the versions that this installation has, with card, metrics and lineage."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from api import auth
from api.problems import Problem
from api.routing import Routes
from api.schemas import ModelBody, ModelList, ModelPath, VersionBody, VersionPath
from jobs.predicting import ModelVersion
from models.catalogue import catalogue

routes = Routes("models", __name__, url_prefix="/v1")


@routes.get("/models", responses={200: ModelList})
@auth.needs("read")
def listing() -> Response:
    """Every model."""
    return jsonify(models=[model_json(name) for name in sorted(catalogue().versions)])


@routes.get("/models/<name>", responses={200: ModelBody})
@auth.needs("read")
def read(path: ModelPath) -> Response:
    """A model: its aliases and versions."""
    if path.name not in catalogue().versions:
        raise Problem("not-found")
    return jsonify(model_json(path.name))


@routes.get("/models/<name>/versions/<int:version>", responses={200: VersionBody})
@auth.needs("read")
def read_version(path: VersionPath) -> Response:
    """A version: labels, thresholds, calibration, metrics with intervals, baseline, data, card."""
    version = catalogue().versions.get(path.name, {}).get(path.version)
    if version is None:
        raise Problem("not-found")
    return jsonify(
        name=version.name,
        version=version.version,
        kind=version.kind,
        aliases=_aliases(version),
        manifest=dict(version.manifest),
    )


def model_json(name: str) -> dict[str, Any]:
    """A model as the API answers it, newest version first."""
    versions = sorted(catalogue().versions[name].values(), key=lambda one: -one.version)
    return {
        "name": name,
        "kind": versions[0].kind,
        "aliases": dict(catalogue().aliases.get(name, {})),
        "versions": [summary(version) for version in versions],
    }


def summary(version: ModelVersion) -> dict[str, Any]:
    """A version in short."""
    return {
        "name": version.name,
        "version": version.version,
        "kind": version.kind,
        "summary": version.manifest.get("summary", ""),
        "aliases": _aliases(version),
        "href": f"/v1/models/{version.name}/versions/{version.version}",
    }


def _aliases(version: ModelVersion) -> list[str]:
    aliases = catalogue().aliases.get(version.name, {})
    return sorted(alias for alias, number in aliases.items() if number == version.version)
