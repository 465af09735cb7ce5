"""A data set as the API answers it: all of it is derived from the job that reads it."""

from __future__ import annotations

from typing import Any

from api.presenting import moment
from db.datasets import DataSetView
from jobs.datasets import DataSetState

CANCELLED = "Reading it was cancelled; send the data set again."


def dataset_json(found: DataSetView) -> dict[str, Any]:
    """The data set of http-api.md."""
    item = found.item or {}
    path = f"/v1/jobs/{found.job_id}"
    return {
        "name": found.name,
        "state": found.state.value,
        "format": found.params["format"],
        "options": found.params["options"],
        "created_at": moment(found.created_at),
        "job": found.job_id,
        "fingerprint": item.get("fingerprint"),
        "counts": item.get("counts"),
        "classes": item.get("classes"),
        "facts": item.get("facts"),
        "warnings": item.get("warnings", []),
        "card": item.get("card"),
        "problems": problems_of(found),
        "links": {"self": f"/v1/datasets/{found.name}", "job": path, "result": f"{path}/result"},
    }


def problems_of(found: DataSetView) -> list[dict[str, Any]]:
    """Why the data set was rejected: what its reader found, or else why the job ended."""
    if found.state is not DataSetState.REJECTED:
        return []
    if found.error is None:
        return [{"detail": CANCELLED}]
    errors = [found.error, *found.error.get("item_errors", [])]
    problems = [problem for error in errors for problem in error.get("problems", [])]
    return problems or [{"detail": found.error["detail"]}]
