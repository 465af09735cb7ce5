"""What the long worker's parent makes of a child that died: it saw it, so the job need not wait for its lease."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request
from celery.worker.state import task_ready

log = logging.getLogger("medjobs.workers")


class LongRequest(Request):  # type: ignore[misc]
    """Celery's request, with our ending for a lost child."""

    on_lost: Callable[[str], None] = staticmethod(lambda job_id: None)
    """Set by the worker at its start: takes the job back and tells Flower."""

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """A lost child is no failure of the job: it is tried again."""
        error = exc_info.exception
        if not isinstance(getattr(error, "exc", error), WorkerLostError):
            return super().on_failure(exc_info, send_failed_event, return_ok)
        task_ready(self)
        log.warning("the process that ran job %s died", self.id, extra={"job_id": self.id})
        threading.Thread(target=type(self).on_lost, args=(self.id,), daemon=True).start()
        return None
