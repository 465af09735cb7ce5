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
from api.problems import FieldError, Problem, pointer
from api.services import services
from api.submission import Submission
from api.validation import field_errors
from db.records import NewJob
from jobs.allowance import Allowance
from jobs.ids import new_id
from jobs.kinds import Kind, Params
from jobs.predicting import ModelVersion
from models.catalogue import UnknownModel, catalogue
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


def accept(submission: Submission, caller_id: int, prefix: Sequence[str | int] = ()) -> Accepted:
    """The row for a submission; raises a problem where kind, model, parameters or inputs do not fit."""
    kind = known_kind(submission.kind, prefix)
    version = pinned(kind, submission.model, prefix)
    params = _params(kind, submission.params, prefix)
    inputs = Inputs(kind, prefix)
    inputs.check(submission.inputs)
    if inputs.errors:
        raise Problem("invalid-inputs", errors=inputs.errors)
    _check_callback(submission.callback_url, prefix)
    job = NewJob(
        id=new_id(),
        caller_id=caller_id,
        kind=kind.name,
        pool=kind.pool,
        model_name=None if version is None else version.name,
        model_version=None if version is None else version.version,
        inputs=submission.inputs,
        digests=list(inputs.digests),
        params=params,
        labels=submission.labels,
        priority=submission.priority,
        seed=submission.seed,
        run_at=submission.run_at(),
        timeout_s=kind.timeout_s if submission.timeout_s is None else submission.timeout_s,
        callback_url=submission.callback_url,
        fingerprint=_fingerprint(submission, params),
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


def pinned(kind: Kind, reference: str | None, prefix: Sequence[str | int] = ()) -> ModelVersion | None:
    """The version that `reference` means now, None for a kind without models; raises a problem."""
    place = pointer(*prefix, "model")
    wanted = kind.default_model if reference is None else reference
    if wanted is None:
        return None
    try:
        version = catalogue().resolve(wanted)
    except UnknownModel as error:
        choices = ", ".join(error.known[:20]) or "none is installed"
        raise Problem("unknown-model", errors=[FieldError(place, f"Use one of: {choices}.")]) from None
    if version.kind != kind.name:
        choices = ", ".join(sorted({found.name for found in catalogue().for_kind(kind)})) or "none is installed"
        raise Problem("model-of-other-kind", errors=[FieldError(place, f"Models of this kind: {choices}.")])
    return version


def _params(kind: Kind, given: dict[str, Any], prefix: Sequence[str | int]) -> dict[str, Any]:
    """The parameters with their defaults. Checked as JSON, where strict means that "yes" and 1 are no booleans."""
    if not given and (default := _defaults.get(kind.params)) is not None:
        return dict(default)
    try:
        params = kind.params.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        errors = field_errors(error, kind.params, given, (*prefix, "params"))
        raise Problem("invalid-request", errors=errors) from None
    dumped: dict[str, Any] = params.model_dump(mode="json")
    if not given:
        _defaults[kind.params] = dict(dumped)
    return dumped


_defaults: dict[type[Params], dict[str, Any]] = {}
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
