"""Rows as the API answers them: RFC 3339 times, rooted links."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from broker.queues import queue
from db.records import JobView


def moment(seconds: float | None) -> str | None:
    """RFC 3339 in UTC with microseconds, from seconds since 1970."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def job_json(job: JobView) -> dict[str, Any]:
    """The job of http-api.md. Its inputs and parameters are not repeated: they may be large, and are patient data."""
    path = f"/v1/jobs/{job.id}"
    model = {"name": job.model_name, "version": job.model_version}
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "priority": job.priority,
        "queue": queue(job.pool, job.queue),
        "model": model if job.model_name is not None else None,
        "progress": {"fraction": job.fraction, "stage": job.stage, "message": job.message},
        "submitted_by": job.submitted_by,
        "created_at": moment(job.created_at),
        "run_after": moment(job.run_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "cancel_requested_at": moment(job.cancel_requested_at),
        "attempts": [
            {
                "number": attempt.number,
                "worker": attempt.worker,
                "started_at": moment(attempt.started_at),
                "ended_at": moment(attempt.ended_at),
                "outcome": attempt.outcome,
                "error": attempt.error,
            }
            for attempt in job.attempts
        ],
        "error": job.error,
        "labels": job.labels,
        "seed": job.seed,
        "timeout_s": job.timeout_s,
        "rerun_of": job.rerun_of,
        "links": {
            "self": path,
            "result": f"{path}/result",
            "events": f"{path}/events",
            "cancel": f"{path}:cancel",
            "report": f"{path}/artifacts/report.html",
        },
    }
