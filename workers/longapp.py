"""The Celery app of the long pool."""

from __future__ import annotations

from typing import Any

from celery import Celery, signals

# A spawned child unpickles its app, and so imports this module and with it the tasks. Celery's own `include` imports
# them too, but with the working directory first on the path: a folder `workers/` there would have been run (measured).
import workers.longtask  # noqa: F401
from jobs.settings import Settings
from workers.starting import set_up_logging


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _as_all_others_do(**_: Any) -> None:
    """The child's log: Celery would set up one of its own."""
    set_up_logging(Settings.from_environment())


class LongApp(Celery):  # type: ignore[misc]
    """As any other app; its class is what the child imports."""
