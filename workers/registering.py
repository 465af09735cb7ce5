"""A model version that a long job made: its number reserved, its files stored, and the row that completes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from db import models
from db.records import NewVersionRow
from db.refusals import NotOwner, OtherKind
from jobs.errors import NameTaken
from jobs.running import Stop
from jobs.training import NewVersion
from registry.content import content_of, described, put
from storage.files import Storage
from workers.work import Bound


class Registered(NamedTuple):
    """What becomes of a new version: its number, and the row for the completion (None: it stands there already)."""

    name: str
    number: int
    row: NewVersionRow | None

    def named_in(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The items, each with the version that they made."""
        told: dict[str, Any] = {"version": {"name": self.name, "version": self.number}}
        if self.row is None:
            told["existing"] = True
        return [{**item, **told} for item in items]


def register(bound: Bound, storage: Storage, new: NewVersion) -> Registered:
    """Reserve the number under the fence, then store the files: what is stored for a job that is not ours any more is
    swept up, and what was reserved before a crash is reserved still. Raises `NameTaken`, and `Stop` where the job
    is not ours."""
    files = described(new.files)
    content = content_of(files)
    claim = bound.claim
    try:
        reserved = models.reserve(bound.db, claim.id, claim.fence, name=new.name, kind=new.kind, content=content)
    except OtherKind as error:
        raise NameTaken(f"The name {new.name} belongs to a model of another kind; train under another name.") from error
    except NotOwner as error:
        raise NameTaken(f"The name {new.name} was taken by somebody else; train under another name.") from error
    if reserved is None:
        raise Stop
    if reserved.existing:
        return Registered(new.name, reserved.number, None)
    stored = put(storage, new.files)
    return Registered(
        new.name, reserved.number, NewVersionRow(new.name, reserved.number, content, dict(new.manifest), stored)
    )
