"""Why a submission was refused; the API turns each into a problem with its status."""

from __future__ import annotations


class Refusal(Exception):
    """The database refused a submission; nothing was written."""


class QueueFull(Refusal):
    """More jobs wait than the installation accepts; `waiting` says how many."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} jobs wait already; send again later.")
        self.waiting = waiting


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
