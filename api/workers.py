"""GET /v1/workers and POST /v1/workers/{id}:drain: who runs what, and who is to stop."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Response, jsonify

from api import auth
from api.presenting import moment
from api.problems import Problem
from api.routing import Routes
from api.schemas import WorkerBody, WorkerList, WorkerPath
from api.services import services
from broker.queues import queue
from db import audit, reading
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
    return jsonify(workers=[_worker_json(worker, shown) for worker in live])


@routes.post("/workers/<string:worker_id>:drain", responses={202: WorkerBody})
@auth.needs("admin")
def drain(path: WorkerPath) -> tuple[Response, int]:
    """Tell a worker to take no more jobs, to end those that it has, and to stop for good. Again changes nothing.

    It hears of it with its next heartbeat; what it cannot end in time goes back to the queue, uncharged.
    """
    here = services()
    live = {worker.id: worker for worker in rows.live(here.database, here.settings.worker_dead_s)}
    if path.worker_id not in live or not rows.drain(here.database, path.worker_id):
        raise Problem("not-found", "No live worker has this id; see `GET /v1/workers`.")
    audit.record(here.database, auth.current().id, "drain", path.worker_id)
    worker = live[path.worker_id]
    return jsonify(_worker_json(worker, set(worker.running), draining=True)), HTTPStatus.ACCEPTED


def _worker_json(worker: rows.Worker, shown: set[str], *, draining: bool = False) -> dict[str, Any]:
    """A worker with the ids of the jobs that may be `shown`; it is draining from when it was told to."""
    return {
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "pool": worker.pool,
        "device": worker.device,
        "state": "draining" if draining or worker.control == "drain" else worker.state,
        "memory": worker.memory,
        "started_at": moment(worker.started_at),
        "heartbeat_at": moment(worker.heartbeat_at),
        "running": len(worker.running),
        "restarts": worker.facts.get("restarts", 0),
        "last_exit": _ended(worker.facts.get("last_exit")),
        "queues": [queue(worker.pool, need) for need in rows.queues(worker)],
        "jobs": [job_id for job_id in worker.running if job_id in shown],
    }


def _ended(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """How the process before this one ended."""
    return None if told is None else {"reason": told["reason"], "at": moment(told["at"])}
