"""POST /v1/models: weights of one's own as the next version of a model."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import Response
from pydantic import ValidationError

from api import auth, weights
from api.accepting import known_kind
from api.model_presenting import version_path
from api.model_schemas import VersionBody
from api.models import version_answer
from api.problems import FieldError, Problem, at, pointer
from api.requests import NewModel
from api.routing import Routes
from api.services import services
from api.validation import field_errors
from db import files as held
from db import models as rows
from db.records import VersionFile
from db.refusals import OtherKind
from jobs.ids import DIGEST
from jobs.kinds import Kind
from registry.content import content_of

routes = Routes("registering", __name__, url_prefix="/v1")

WEIGHTS, EXPORTED = "weights.safetensors", "model.pt2"


@routes.post("/models", responses={201: VersionBody, 200: VersionBody})
@auth.needs("admin")
def add(body: NewModel) -> tuple[Response, int]:
    """Register uploaded weights and a contract as the next version of a model (admin): workers run its network.

    The same again is the version that is there.
    """
    kind = known_kind(body.kind)
    contract = _contract(kind, body.contract)
    main = _main(body)
    files = [_file(name, digest) for name, digest in sorted(body.files.items())]
    for file in files:
        _check(file)
    weight = next(file for file in files if file.path == main)
    caller = auth.current().id
    try:
        made = rows.add(
            services().database, name=body.name, kind=kind.name, caller_id=caller,
            content=_content(body, contract, files), manifest=_manifest(body, contract, weight), files=files,
        )  # fmt: skip
    except OtherKind:
        raise at(
            "#/name", "The model of that name is of another kind; choose another.", "model-of-other-kind"
        ) from None
    answer = version_answer(body.name, made.number)
    answer.headers["Location"] = version_path(body.name, made.number)
    return answer, HTTPStatus.OK if made.existing else HTTPStatus.CREATED


def _contract(kind: Kind, given: dict[str, Any]) -> dict[str, Any]:
    """The contract with its defaults, as the kind's schema has it."""
    if kind.contract is None:
        raise at("#/kind", "This kind takes no own models; `GET /v1/kinds/{kind}` shows a `contract` where one does.")
    try:
        return kind.contract.model_validate_json(json.dumps(given), strict=True).model_dump(mode="json")
    except ValidationError as error:
        raise Problem("invalid-request", errors=field_errors(error, kind.contract, given, ("contract",))) from None


def _main(body: NewModel) -> str:
    """The file that is the model: weights with their network, or an exported program alone."""
    chosen = [name for name in (WEIGHTS, EXPORTED) if name in body.files]
    if len(chosen) != 1:
        raise at("#/files", f"Give {WEIGHTS} or {EXPORTED}, one of them.")
    if (chosen[0] == WEIGHTS) != (body.network is not None):
        raise at("#/network", "Weights need the network that they are of; an exported program needs none.")
    return chosen[0]


def _file(name: str, digest: str) -> VersionFile:
    """One of the caller's files; raises a problem where it is none."""
    place = pointer("files", name)
    if not DIGEST.fullmatch(digest):
        raise at(place, 'Give a file id: "sha256:" and 64 hex digits in lower case.')
    found = held.get(services().database, auth.current().id, digest)
    if found is None:
        raise Problem("unknown-file", errors=[FieldError(place, "Upload this file with POST /v1/files first.")])
    return VersionFile(name, digest, found.size)


def _check(file: VersionFile) -> None:
    """Whether the bytes are what the name says, as far as that is seen without running anything."""
    try:
        weights.check(file.path, services().storage.local(file.digest))
    except FileNotFoundError:
        gone = "The bytes of this file are gone; upload them again."
        raise Problem("unknown-file", errors=[FieldError(pointer("files", file.path), gone)]) from None
    except weights.NotWeights as error:
        raise at(pointer("files", file.path), str(error)) from None


def _manifest(body: NewModel, contract: dict[str, Any], weight: VersionFile) -> dict[str, Any]:
    data = body.card.get("data")
    return {
        "name": body.name,
        "kind": body.kind,
        "summary": str(body.card.get("summary", "")),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "own": True,
        "weights": {"file": weight.path, "sha256": weight.digest.removeprefix("sha256:"), "bytes": weight.size},
        "network": None if body.network is None else {"name": body.network},
        "contract": contract,
        "data": data if isinstance(data, dict) else None,
        "card": body.card,
        "parent": None,
    }


def _content(body: NewModel, contract: dict[str, Any], files: list[VersionFile]) -> str:
    """Hash over the files and what makes the same weights another model: network, contract and card."""
    told = json.dumps([content_of(files), body.network, contract, body.card], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()
