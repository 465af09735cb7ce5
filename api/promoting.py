"""PUT /v1/models/{name}/aliases/{alias} and /gate: which version serves, and what it must show before it does."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from api import auth, bodies
from api.accepting import validated
from api.documenting import GATE, MOVE
from api.model_presenting import may_change, move_json
from api.model_schemas import AliasPath, ModelDetail, ModelPath, MoveBody
from api.models import answer, comparable, found, known
from api.naming import ALIAS, ALIAS_RULE
from api.problems import Problem, at
from api.requests import AliasMove, Gate
from api.routing import Routes
from api.services import services
from db import models as rows
from models import comparing

routes = Routes("promoting", __name__, url_prefix="/v1")

TRIES = 3
"""How often a promotion is judged anew because another one came between."""


@routes.put("/models/<name>/aliases/<alias>", responses={200: MoveBody}, openapi_extensions=MOVE)
@auth.needs("submit")
def move(path: AliasPath) -> Response:
    """Promote or roll back: let an alias mean this version for every job from now on. Owner or admin; history is kept.

    Before `production` moves, the version must pass the model's gate; an admin may `force` it, with a reason. The
    version that was in production before, or before that, is let back without: who finds the new one at fault must not
    have to argue. One that was rolled back is judged anew.
    """
    model = changeable(path.name)
    if not ALIAS.fullmatch(path.alias):
        raise at("#/path/alias", ALIAS_RULE)
    body = validated(AliasMove, bodies.read_json(services().settings.max_body_bytes))
    if body.force and auth.owner() is not None:
        raise Problem("missing-scope", "Only a token with the scope admin may force a promotion.")
    if body.force and not body.reason:
        raise at("#/reason", "Say why the gate is passed over; it is kept in the history.")
    version = found(path.name, body.version, "#/version")
    for _ in range(TRIES):
        before = model.aliases.get(path.alias)
        verdict = judged(model, version, before, body.force) if path.alias == rows.PRODUCTION else None
        caller = auth.current().id
        moved = rows.move_alias(
            services().database, path.name, path.alias, body.version,
            caller_id=caller, reason=body.reason, gate=verdict, expected=before,
        )  # fmt: skip
        if moved is not None:
            history = rows.history(services().database, path.name, path.alias)
            return jsonify(move_json(path.name, next(one for one in history if one.after == body.version)))
        model = known(path.name)
    raise Problem("gate-not-passed", "The alias keeps being moved by others; look at the history and send it again.")


@routes.put("/models/<name>/gate", responses={200: ModelDetail}, openapi_extensions=GATE)
@auth.needs("submit")
def set_gate(path: ModelPath) -> Response:
    """Declare what a version must pass before `production` moves to it; `null` takes the gate away. Owner or admin."""
    changeable(path.name)
    document = bodies.read_json(services().settings.max_body_bytes)
    gate = None if document is None else validated(Gate, document).model_dump()
    rows.set_gate(services().database, path.name, gate, caller_id=auth.current().id)
    return answer(known(path.name))


def changeable(name: str) -> rows.Model:
    """The model of that name; raises 404, or 403 where its aliases are not this caller's to move."""
    model = known(name)
    if not may_change(model):
        raise Problem("not-owner")
    return model


def judged(model: rows.Model, version: rows.Version, before: int | None, force: bool) -> dict[str, Any] | None:
    """What the gate says of the version, as the history keeps it; None where nothing is asked.

    Raises `gate-not-passed`, unless the promotion is forced.
    """
    if model.gate is None or before in (None, version.number) or _earlier(model.name, version.number):
        return None
    production = found(model.name, before, "#/version")
    verdict = comparing.gate(model.gate, comparable(version), comparable(production))
    if not verdict.passed and not force:
        raise Problem("gate-not-passed", reasons=list(verdict.reasons), figures=dict(verdict.figures))
    return {
        "rule": model.gate,
        "passed": verdict.passed,
        "forced": not verdict.passed,
        "against": before,
        "reasons": list(verdict.reasons),
        "figures": dict(verdict.figures),
    }


def _earlier(name: str, number: int) -> bool:
    """Whether production came by that version to where it is. One that was rolled back is none of these."""
    line: list[int] = []
    for move in reversed(rows.history(services().database, name, rows.PRODUCTION)):
        line = [*line[: line.index(move.after)], move.after] if move.after in line else [*line, move.after]
    return number in line
