"""GET /v1/models: names, versions with their files, and how two versions differ."""

from __future__ import annotations

from flask import Response, jsonify, send_file

from api import auth, documenting
from api.headers import GUARDED
from api.model_presenting import model_json, move_json, version_json
from api.model_schemas import (
    CompareQuery,
    ComparisonBody,
    ModelDetail,
    ModelList,
    ModelPath,
    VersionBody,
    VersionFilePath,
    VersionPath,
)
from api.problems import FieldError, Problem
from api.routing import Routes
from api.services import services
from db import models as rows
from models import comparing

routes = Routes("models", __name__, url_prefix="/v1")

CASES = "cases.npz"
"""A version's answers to its test cases, by which it is compared with another."""

LONGEST_LINEAGE = 100


@routes.get("/models", responses={200: ModelList})
@auth.needs("read")
def listing() -> Response:
    """Every model."""
    database = services().database
    versions: dict[str, list[rows.Version]] = {}
    for version in rows.versions(database):
        versions.setdefault(version.name, []).append(version)
    return jsonify(models=[model_json(model, versions.get(model.name, [])) for model in rows.models(database)])


@routes.get("/models/<name>", responses={200: ModelDetail})
@auth.needs("read")
def read(path: ModelPath) -> Response:
    """A model: its aliases and how they moved, its gate, its versions."""
    return answer(known(path.name))


def answer(model: rows.Model) -> Response:
    """A model with its versions and its history."""
    database = services().database
    shown = model_json(model, rows.versions(database, name=model.name))
    return jsonify(**shown, history=[move_json(model.name, move) for move in rows.history(database, model.name)])


@routes.get("/models/<name>/versions/<int:version>", responses={200: VersionBody})
@auth.needs("read")
def read_version(path: VersionPath) -> Response:
    """A version: labels, thresholds, calibration, metrics with intervals, baseline, data, card, lineage, files."""
    return version_answer(path.name, path.version)


def version_answer(name: str, number: int) -> Response:
    """A version with its lineage and files; raises 404."""
    database = services().database
    model, version = known(name), rows.get(database, name, number)
    if version is None:
        raise Problem("not-found")
    return jsonify(version_json(version, model.aliases, lineage(version), rows.files(database, name, version.number)))


@routes.get("/models/<name>/versions/<int:version>/files/<path:file>", responses={200: documenting.BYTES})
@auth.needs("read")
def download(path: VersionFilePath) -> Response:
    """A file of a version, such as `weights.safetensors`."""
    here = services()
    version = rows.get(here.database, path.name, path.version)
    files = [] if version is None else rows.files(here.database, version.name, version.number)
    wanted = next((file for file in files if file.path == path.file), None)
    if wanted is None:
        raise Problem("not-found")
    try:
        local = here.storage.local(wanted.digest)
    except FileNotFoundError:
        raise Problem("not-found", "The bytes of this file are gone from the storage.") from None
    name = wanted.path.rpartition("/")[2]
    sent = send_file(local, "application/octet-stream", as_attachment=True, download_name=name, etag=wanted.digest)
    sent.headers.update(GUARDED)
    return sent


@routes.get("/models/<name>/compare", responses={200: ComparisonBody})
@auth.needs("read")
def compare(path: ModelPath, query: CompareQuery) -> Response:
    """Version b against a on the same test cases: differences with 95 % intervals (paired bootstrap), and subgroups."""
    known(path.name)
    pair = [comparable(found(path.name, getattr(query, side), f"#/query/{side}")) for side in ("a", "b")]
    try:
        compared = comparing.compare(*pair)
    except comparing.NotComparable as error:
        raise Problem("not-comparable", str(error)) from None
    return jsonify(a=query.a, b=query.b, **compared.as_dict())


def known(name: str) -> rows.Model:
    """The model of that name; raises 404."""
    model = next(iter(rows.models(services().database, name=name)), None)
    if model is None:
        raise Problem("not-found")
    return model


def found(name: str, number: int, pointer: str) -> rows.Version:
    """A version that the body or query names; raises `unknown-model` at `pointer`."""
    version = rows.get(services().database, name, number)
    if version is None:
        numbers = [str(one.number) for one in rows.versions(services().database, name=name)]
        raise Problem("unknown-model", errors=[FieldError(pointer, f"Its versions are {', '.join(numbers)}.")])
    return version


def comparable(version: rows.Version) -> comparing.Version:
    """A version as models/comparing.py takes it."""
    here = services()
    files = {file.path: file.digest for file in rows.files(here.database, version.name, version.number)}
    cases = None
    if CASES in files:
        with here.storage.open(files[CASES]) as stream:
            cases = stream.read()
    return comparing.Version({**version.manifest, "kind": version.kind}, cases)


def lineage(version: rows.Version) -> list[rows.Version]:
    """The version, the one that it was trained from, and so on, as far as they are there."""
    line = [version]
    while len(line) < LONGEST_LINEAGE:
        parent = line[-1].manifest.get("parent")
        before = rows.get(services().database, parent["name"], parent["version"]) if parent else None
        if before is None:
            break
        line.append(before)
    return line
