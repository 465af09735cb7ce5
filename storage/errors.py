"""What the storage refuses. `StorageUnavailable` stands in jobs/errors.py, as jobs are retried for it."""

from __future__ import annotations


class TooLarge(Exception):
    """More bytes than the limit; nothing was kept. `limit` in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"More than the {limit} bytes that are accepted.")
        self.limit = limit


class BadName(ValueError):
    """A digest, job id or artifact name that could lead outside its folder; a defect of the caller."""
