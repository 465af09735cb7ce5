"""Flower's pages as medjobs serves them: all of them may be read, one button does something, and that is our cancel.

Celery's own commands act behind the database's back: a pool that shrinks, a consumer that is cancelled or a worker that
is shut down holds up jobs, and a task that is applied is a job that nobody submitted.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from flower import urls
from flower.api.control import ControlHandler, TaskRevoke
from flower.views import BaseHandler
from flower.views.monitor import Metrics
from flower.views.tasks import TaskView
from tornado import web
from tornado.routing import URLSpec

REFUSAL = (
    "medjobs does not do this from Flower. Cancel a job by its Revoke button or `medjobs cancel`; stop a worker by "
    "SIGTERM to its process, which lets it hand back its jobs.\n"
)

Cancel = Callable[[str], str | None]
"""Cancels a job; its state then, or None where there is no such job."""


class Refused(BaseHandler):  # type: ignore[misc]
    """An endpoint that would change something: 401 without the password, else 403."""

    def prepare(self) -> None:
        """Answer whatever the method."""
        if not self.current_user:
            raise web.HTTPError(401)
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(REFUSAL)


class CancelJob(ControlHandler):  # type: ignore[misc]
    """Flower's Revoke and Terminate buttons: a durable cancel, with or without a worker that lives."""

    cancel: Cancel

    @web.authenticated
    async def post(self, job_id: str) -> None:
        """Cancel the job of that id, as `POST /v1/jobs/{id}:cancel` does."""
        try:
            canonical = str(uuid.UUID(job_id))
        except ValueError:
            raise web.HTTPError(404, "A task's id is its job's id.") from None
        state = await self.run_blocking("job.cancel", canonical, type(self).cancel, canonical)
        if state is None:
            raise web.HTTPError(404, f"There is no job {canonical}.")
        self.write({"message": f"Cancel of '{canonical}' requested; the job is {state}"})


class Job(TaskView):  # type: ignore[misc]
    """The page of one task keeps its button though Flower runs in its read-only mode."""

    def render(self, *names: Any, **values: Any) -> None:
        """With the button."""
        super().render(*names, **{**values, "read_only": False})


class Figures(Metrics):  # type: ignore[misc]
    """Flower's own Prometheus page, which names workers and kinds: with the password alone."""

    @web.authenticated
    async def get(self) -> None:
        """The page."""
        await super().get()


def install(cancel: Cancel) -> None:
    """Put these in the place of Flower's; what a later Flower may add under /api that changes something is refused."""
    CancelJob.cancel = staticmethod(cancel)
    urls.handlers[:] = [_ours(one) for one in urls.handlers]


def _ours(route: Any) -> Any:
    spec = route if isinstance(route, URLSpec) else web.url(*route)
    spec.target = spec.handler_class = _instead(spec.regex.pattern, spec.handler_class)
    return spec


def _instead(pattern: str, handler: type) -> type:
    ours = {TaskRevoke: CancelJob, TaskView: Job, Metrics: Figures}
    if handler in ours:
        return ours[handler]
    changing = ("post", "put", "patch", "delete")
    if pattern.startswith("/api/") and any(
        getattr(handler, verb) is not getattr(web.RequestHandler, verb) for verb in changing
    ):
        return Refused
    return handler
