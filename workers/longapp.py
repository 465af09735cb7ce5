"""The Celery app of the long pool."""

from __future__ import annotations

from celery import Celery

# A spawned child unpickles its app, and so imports this module and with it the tasks. Celery's own `include` imports
# them too, but with the working directory first on the path: a folder `workers/` there would have been run (measured).
import workers.longtask  # noqa: F401


class LongApp(Celery):  # type: ignore[misc]
    """As any other app; its class is what the child imports."""
