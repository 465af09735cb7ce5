"""/healthz, /readyz and /metrics: for orchestrators and Prometheus; no token, no patient data."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify

from api import documenting
from api.routing import Routes
from api.schemas import Health, Readiness
from api.services import Services, services
from broker import health as broker

log = logging.getLogger("medjobs.api")

routes = Routes("health", __name__)

REMEMBERED_S = 1.0
"""Dependencies are looked at once in this time: the routes need no token, and a look costs a file and a connection."""


@routes.get("/healthz", responses={200: Health})
def alive() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@routes.get("/readyz", responses={200: Readiness, 503: Readiness})
def ready() -> tuple[Response, int]:
    """What the API needs, by name. Without Redis it still takes jobs (`degraded`); they are sent when it is back."""
    found = _looks.dependencies(services())
    needed = found["database"]["ok"] and found["storage"]["ok"]
    status = "unready" if not needed else "ready" if found["redis"]["ok"] else "degraded"
    code = HTTPStatus.OK if needed else HTTPStatus.SERVICE_UNAVAILABLE
    answer = jsonify(status=status, dependencies=found)
    if not needed:
        answer.headers["Retry-After"] = "2"
    return answer, code


@routes.get("/metrics", responses={200: documenting.TEXT})
def metrics() -> Response:
    """Prometheus metrics; names start with `medjobs_`."""
    content, media_type = services().metrics.exposed()
    return Response(content, content_type=media_type)


class _Looks:
    """Remembers the last look for a moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._found: dict[str, dict[str, Any]] = {}
        self._of: Services | None = None

    def dependencies(self, here: Services) -> dict[str, dict[str, Any]]:
        """Each dependency with `ok`, and what to do where it is not."""
        with self._lock:
            if time.monotonic() - self._at > REMEMBERED_S or self._of is not here:
                self._found = {
                    "database": _look(here.database.check, "The database does not answer; see `medjobs doctor`."),
                    "storage": _look(here.storage.check, "The storage cannot be written; see `medjobs doctor`."),
                    "redis": _look(lambda: broker.ping(here.settings), "Redis does not answer; jobs wait for it."),
                }
                self._at, self._of = time.monotonic(), here
            return self._found


def _look(check: Callable[[], object], remedy: str) -> dict[str, Any]:
    try:
        check()
    except Exception as error:  # whatever a driver raises: it is down
        log.warning("not ready: %s (%s)", remedy, type(error).__name__)
        return {"ok": False, "detail": remedy}
    return {"ok": True, "detail": None}


_looks = _Looks()
