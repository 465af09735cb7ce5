"""GET /v1/workers: who runs what."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from api import auth
from api.presenting import moment
from api.routing import Routes
from api.schemas import WorkerList
from api.services import services
from broker.queues import queue
from db import reading
from db import workers as rows

routes = Routes("workers", __name__, url_prefix="/v1")


@routes.get("/workers", responses={200: WorkerList})
@auth.needs("read")
def listing() -> Response:
    """Live worker processes. Job ids are shown where they are the caller's own (all of them to an admin)."""
    here = services()
    live = rows.live(here.database, here.settings.worker_dead_s)
    owner = auth.owner()
    shown = {job_id for worker in live for job_id in worker.running}
    if owner is not None:
        found = reading.get_many(here.database, sorted(shown))
        shown = {job.id for job in found if job.caller_id == owner}
    return jsonify(
        workers=[
            {
                "id": worker.id,
                "host": worker.host,
                "pid": worker.pid,
                "pool": worker.pool,
                "device": worker.device,
                "state": worker.state,
                "memory": worker.memory,
                "started_at": moment(worker.started_at),
                "heartbeat_at": moment(worker.heartbeat_at),
                "running": len(worker.running),
                "restarts": worker.facts.get("restarts", 0),
                "last_exit": _ended(worker.facts.get("last_exit")),
                "queues": [queue(worker.pool, need) for need in rows.queues(worker)],
                "jobs": [job_id for job_id in worker.running if job_id in shown],
            }
            for worker in live
        ]
    )


def _ended(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """How the process before this one ended."""
    return None if told is None else {"reason": told["reason"], "at": moment(told["at"])}
