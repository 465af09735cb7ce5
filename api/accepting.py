"""From a validated body to a row: kind, pinned model, parameters, inputs, fingerprint."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from api.inputs import Inputs
from api.pinning import Pinner
from api.problems import FieldError, Problem, pointer
from api.services import services
from api.submission import Submission
from api.validation import field_errors
from db.records import NewJob
from jobs.allowance import Allowance
from jobs.ids import new_id
from jobs.kinds import Kind, Params
from models.registry import kinds

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class Accepted:
    """A job ready to be inserted, and where in the body each of its files was named."""

    job: NewJob
    places: Mapping[str, tuple[str | int, ...]]

    def keyed(self, key: str | None, salt: str = "") -> Accepted:
        """The same under an Idempotency-Key; `salt` ties it to the request that it came in."""
        if key is None:
            return self
        fingerprint = hashlib.sha256(f"{self.job.fingerprint}{salt}".encode()).hexdigest()
        return replace(self, job=replace(self.job, idempotency_key=key, fingerprint=fingerprint))


def validated(model: type[Body], document: Any, prefix: Sequence[str | int] = ()) -> Body:
    """`document` as `model`; raises a problem with a pointer per bad field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise Problem("invalid-request", errors=field_errors(error, model, document, prefix)) from None


def accept(submission: Submission, pinner: Pinner, prefix: Sequence[str | int] = ()) -> Accepted:
    """The row for a submission; raises a problem where kind, model, parameters or inputs do not fit."""
    kind = known_kind(submission.kind, prefix)
    version = pinner.model(kind, submission.model, (*prefix, "model"))
    name, number = (None, None) if version is None else (version.name, version.number)
    params, dumped = checked_params(kind, submission.params, (*prefix, "params"))
    inputs = Inputs(kind, (*prefix, "inputs"))
    inputs.check(submission.inputs)
    if inputs.errors:
        raise Problem("invalid-inputs", errors=inputs.errors)
    _check_callback(submission.callback_url, prefix)
    job = NewJob(
        id=new_id(),
        caller_id=pinner.caller.id,
        kind=kind.name,
        pool=kind.pool,
        queue=services().placing.queue(kind, name, number),
        model_name=name,
        model_version=number,
        inputs=submission.inputs,
        digests=list(inputs.digests),
        params=dumped,
        pins=pinner.pins(kind, params, (*prefix, "params")) or None,
        labels=submission.labels,
        priority=submission.priority,
        seed=submission.seed,
        run_at=submission.run_at(),
        timeout_s=kind.timeout_s if submission.timeout_s is None else submission.timeout_s,
        callback_url=submission.callback_url,
        fingerprint=_fingerprint(submission, dumped),
    )
    return Accepted(job, inputs.digests)


def _check_callback(url: str | None, prefix: Sequence[str | int]) -> None:
    """Refuse a webhook that would not be called; the keeper checks again, with the address that the host has then."""
    if url is None:
        return
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        private = not ipaddress.ip_address(host).is_global
    except ValueError:
        private = host == "localhost" or host.endswith(".localhost")
    if (parts.scheme == "https" and not private) or Allowance.parse(services().settings.webhook_allow).names(host):
        return
    advice = "use https and a public host; others must be listed in MEDJOBS_WEBHOOK_ALLOW by the operator"
    raise Problem("invalid-request", errors=[FieldError(pointer(*prefix, "callback_url"), advice)])


def known_kind(name: str, prefix: Sequence[str | int] = ()) -> Kind:
    """The kind of that name; raises `unknown-kind`."""
    kind = kinds().get(name)
    if kind is None:
        detail = f"Use one of: {', '.join(sorted(kinds()))}."
        raise Problem("unknown-kind", errors=[FieldError(pointer(*prefix, "kind"), detail)])
    return kind


def checked_params(kind: Kind, given: dict[str, Any], place: Sequence[str | int]) -> tuple[Params, dict[str, Any]]:
    """The parameters, and as JSON with their defaults; raises a problem that points below `place`.

    Checked as JSON, where strict means that "yes" and 1 are no booleans.
    """
    if not given and (default := _defaults.get(kind.params)) is not None:
        params, dumped = default
        return params, dict(dumped)
    try:
        params = kind.params.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise Problem("invalid-request", errors=field_errors(error, kind.params, given, place)) from None
    dumped = params.model_dump(mode="json")
    if not given:
        _defaults[kind.params] = params, dict(dumped)
    return params, dumped


_defaults: dict[type[Params], tuple[Params, dict[str, Any]]] = {}
"""What `{}` means for each kind's parameters; most jobs say no more."""


def _fingerprint(submission: Submission, params: dict[str, Any]) -> str:
    """Hash over the validated fields and the file ids. The model as it was asked for: an alias may move in between."""
    fields = [
        submission.kind,
        submission.model,
        submission.inputs,
        params,
        submission.priority,
        submission.labels,
        submission.run_at(),
        submission.timeout_s,
        submission.callback_url,
        submission.seed,
    ]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
