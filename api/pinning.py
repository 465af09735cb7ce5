"""What a submission names, as it is now: model versions and data sets, each asked for once in a request.

Nothing is remembered from one request to the next, so that a promotion counts at once in every process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from api.naming import NAME, NAME_RULE
from api.problems import FieldError, Problem, pointer
from api.services import services
from db import datasets, models, reading
from db.callers import Caller
from db.models import Pin
from jobs.datasets import DataSetState
from jobs.kinds import Kind, Params
from jobs.references import references
from models.catalogue import UnknownModel

Place = Sequence[str | int]

named_by = cache(references)
"""The fields of a kind's parameters that name something."""

OTHER_SORT = {"dataset": "dataset-of-other-format", "version": "model-of-other-kind"}
"""The code of a reference to something that is there and does not fit."""


class Pinner:
    """The references of one request's submissions."""

    def __init__(self, caller: Caller) -> None:
        """`caller` is who submits: data sets are looked for among its own."""
        self.caller = caller
        self._versions: dict[str, Pin | UnknownModel] = {}
        self._datasets: dict[str, datasets.DataSetView | None] = {}

    def model(self, kind: Kind, reference: str | None, place: Place) -> Pin | None:
        """The version that `reference` means now, None for a kind without models; raises a problem."""
        wanted = kind.default_model if reference is None else reference
        if wanted is None:
            return None
        version = self.version(wanted, place)
        if version.kind != kind.name:
            serving = models.versions(services().database, kind=kind.name)
            choices = ", ".join(sorted({one.name for one in serving})) or "none is installed"
            error = FieldError(pointer(*place), f"Models of this kind: {choices}.")
            raise Problem("model-of-other-kind", errors=[error])
        return version

    def version(self, reference: str, place: Place) -> Pin:
        """The version that `reference` means now; raises `unknown-model`."""
        found = self._versions.get(reference)
        if found is None:
            found = self._versions[reference] = _resolved(reference)
        if isinstance(found, UnknownModel):
            choices = ", ".join(found.known[:20]) or "none is installed"
            raise Problem("unknown-model", errors=[FieldError(pointer(*place), f"Use one of: {choices}.")])
        return found

    def dataset(self, name: str, place: Place) -> datasets.DataSetView:
        """The caller's ready data set of that name; raises `unknown-dataset` or `dataset-not-ready`."""
        if name not in self._datasets:
            self._datasets[name] = datasets.get(services().database, self.caller.id, name)
        found = self._datasets[name]
        if found is None:
            error = FieldError(pointer(*place), "Use one of yours; `GET /v1/datasets` lists them.")
            raise Problem("unknown-dataset", errors=[error])
        if found.state is not DataSetState.READY:
            detail = f"This data set is {found.state.value}."
            raise Problem("dataset-not-ready", errors=[FieldError(pointer(*place), detail)])
        return found

    def pins(self, kind: Kind, params: Params, place: Place) -> dict[str, Any]:
        """What the parameters name, by field, as the job keeps it; raises a problem where something does not fit."""
        named = {field: what for field, what in named_by(kind.params).items() if getattr(params, field) is not None}
        sets = {
            field: self.dataset(getattr(params, field), (*place, field))
            for field, what in named.items()
            if what == "dataset"
        }
        versions = {
            field: self.version(getattr(params, field), (*place, field))
            for field, what in named.items()
            if what == "version"
        }
        self._check(params, sets, versions, place)
        pinned = {field: {"name": one.name, "version": one.number} for field, one in versions.items()}
        return pinned | {field: _pin(one) for field, one in sets.items()}

    def _check(
        self,
        params: Params,
        sets: Mapping[str, datasets.DataSetView],
        versions: Mapping[str, Pin],
        place: Place,
    ) -> None:
        """What the parameters themselves say of the things they name, and of the model they would make."""
        check = getattr(params, "check_references", None)
        if check is not None:
            facts = {field: one.item for field, one in sets.items()}
            for field, detail in check(facts, versions):
                code = OTHER_SORT[named_by(type(params))[field]]
                raise Problem(code, errors=[FieldError(pointer(*place, field), detail)])
        makes = getattr(params, "makes", None)
        if makes is not None:
            name, of_kind = makes()
            self._check_made(name, of_kind, (*place, "name"))

    def _check_made(self, name: str, kind: str, place: Place) -> None:
        """Refuse a name for a new version that is none, another caller's, or of another kind."""
        if not NAME.fullmatch(name):
            raise Problem("invalid-request", errors=[FieldError(pointer(*place), NAME_RULE)])
        taken = models.owner(services().database, name)
        if taken is None:
            return
        of_kind, owner = taken
        if owner != self.caller.id and "admin" not in self.caller.scopes:
            error = FieldError(pointer(*place), "This name belongs to somebody else; choose another.")
            raise Problem("not-owner", errors=[error])
        if of_kind != kind:
            error = FieldError(pointer(*place), "The model of that name is of another kind; choose another name.")
            raise Problem("model-of-other-kind", errors=[error])


def _resolved(reference: str) -> Pin | UnknownModel:
    try:
        return services().registry.pin(reference)
    except UnknownModel as error:
        return error


def _pin(found: datasets.DataSetView) -> dict[str, Any]:
    return {"id": found.job_id, "name": found.name, "fingerprint": (found.item or {})["fingerprint"]}


def check_pins(kind: Kind, pins: Mapping[str, Any]) -> None:
    """Refuse to run a job again where what was read of its data set is not kept any more; its name may well be gone."""
    for field, what in named_by(kind.params).items():
        if what == "dataset" and field in pins and reading.result(services().database, pins[field]["id"]) is None:
            remedy = "This data set was deleted; add it again and submit a new job."
            raise Problem("unknown-dataset", errors=[FieldError(pointer("params", field), remedy)])
