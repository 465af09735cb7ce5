"""Why a submission was refused; the API turns each into a problem with its status."""

from __future__ import annotations


class Refusal(Exception):
    """The database refused a submission; nothing was written."""


class QueueFull(Refusal):
    """More jobs would wait than the installation accepts: `waiting` do, and `limit` may."""

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(f"{waiting} jobs wait of the {limit} that may.")
        self.waiting, self.limit = waiting, limit


class KeyReused(Refusal):
    """The Idempotency-Key stood for another submission; `positions` are those of the jobs concerned."""

    def __init__(self, positions: list[int]) -> None:
        super().__init__("This Idempotency-Key was used for another request; make a new key.")
        self.positions = positions


class UnknownFiles(Refusal):
    """The caller never uploaded these files, or forgot them; `digests` names them, sorted."""

    def __init__(self, digests: list[str]) -> None:
        super().__init__(f"{len(digests)} file(s) are not uploaded; POST them to /v1/files first.")
        self.digests = digests


class DataSetExists(Refusal):
    """The caller has another data set of that name; data sets do not change."""

    def __init__(self) -> None:
        super().__init__("A data set of that name with other content is there; choose another name or delete it.")


class DataSetInUse(Refusal):
    """A job that has not ended was accepted with this data set."""

    def __init__(self) -> None:
        super().__init__("A queued or running job uses this data set; cancel it or wait for its end.")


class DataSetsGone(Refusal):
    """Data sets that the jobs were to be pinned to were given up meanwhile; `ids` names them, sorted."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__("A data set that this job names was deleted a moment ago; choose another.")
        self.ids = ids


class OtherKind(Refusal):
    """A model of that name is of another kind; `kind` says which."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"A model of that name is of the kind {kind}; choose another name.")
        self.kind = kind


class NotOwner(Refusal):
    """A model of that name belongs to somebody else."""

    def __init__(self) -> None:
        super().__init__("A model of that name belongs to somebody else; choose another name.")


class VersionExists(Refusal):
    """Another job's version with the same files became ready first; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Version {number} has the very same files.")
        self.number = number
