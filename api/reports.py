"""report.html, drawn on request from what is stored (docs/adr/0001)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.presenting import job_json
from db import models
from db.engine import Database
from db.records import JobView, StoredResult
from jobs.kinds import resolve
from jobs.results import Report
from models.plain_report import render as render_plain
from models.registry import kinds
from storage.files import Storage

REPORT = "report.html"


def render(database: Database, storage: Storage, job: JobView, stored: StoredResult) -> str:
    """The report as HTML, by the kind's own renderer or the plain one."""
    names = {artifact.name for artifact in stored.artifacts}

    def artifact(name: str) -> bytes:
        if name not in names:
            raise KeyError("the job made no such file")
        return storage.read_artifact(job.id, stored.fence, name)

    report = Report(job_json(job), stored.result, artifact, _manifest(database, job))
    kind = kinds().get(job.kind)
    draw = render_plain if kind is None or kind.report is None else resolve(kind.report)
    return str(draw(report))


def _manifest(database: Database, job: JobView) -> Mapping[str, Any] | None:
    if job.model_name is None or job.model_version is None:
        return None
    version = models.get(database, job.model_name, job.model_version)
    return None if version is None else {**version.manifest, "name": version.name, "version": version.number}
