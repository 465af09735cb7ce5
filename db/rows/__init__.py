"""The tables, one class each; a class is a row."""

from db.rows.base import Row
from db.rows.caller import AuditRow, CallerRow, IdempotencyRow, TokenRow
from db.rows.dataset import DataSetRow
from db.rows.file import BlobRow, HoldingRow, JobFileRow
from db.rows.history import ArtifactRow, AttemptRow, EventRow, OutboxRow, PreviewRow, ResultRow
from db.rows.job import JobRow
from db.rows.label import JobLabelRow
from db.rows.model import AliasMoveRow, AliasRow, ModelRow, ModelVersionRow, VersionFileRow
from db.rows.tally import TallyRow
from db.rows.worker import WatchRow, WorkerRow

__all__ = [
    "AliasMoveRow",
    "AliasRow",
    "ArtifactRow",
    "AttemptRow",
    "AuditRow",
    "BlobRow",
    "CallerRow",
    "DataSetRow",
    "EventRow",
    "HoldingRow",
    "IdempotencyRow",
    "JobFileRow",
    "JobLabelRow",
    "JobRow",
    "ModelRow",
    "ModelVersionRow",
    "OutboxRow",
    "PreviewRow",
    "ResultRow",
    "Row",
    "TallyRow",
    "TokenRow",
    "VersionFileRow",
    "WatchRow",
    "WorkerRow",
]
