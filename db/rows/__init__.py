"""The tables, one class each; a class is a row."""

from db.rows.base import Row
from db.rows.caller import AuditRow, CallerRow, IdempotencyRow, TokenRow
from db.rows.file import BlobRow, HoldingRow, JobFileRow
from db.rows.history import ArtifactRow, AttemptRow, EventRow, OutboxRow, ResultRow
from db.rows.job import JobRow
from db.rows.worker import WatchRow, WorkerRow

__all__ = [
    "ArtifactRow",
    "AttemptRow",
    "AuditRow",
    "BlobRow",
    "CallerRow",
    "EventRow",
    "HoldingRow",
    "IdempotencyRow",
    "JobFileRow",
    "JobRow",
    "OutboxRow",
    "ResultRow",
    "Row",
    "TokenRow",
    "WatchRow",
    "WorkerRow",
]
