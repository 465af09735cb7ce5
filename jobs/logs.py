"""How every process logs: lines of text for a person, or one JSON object a line for a collector.

What a line is about (a job, a route, a worker) stands in fields of its own. Only the fields listed here are written:
whatever else a library hangs on a record could carry a caller's text.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

Format = Literal["text", "json"]

FIELDS = (
    "worker", "job_id", "fence", "kind", "outcome", "code", "method", "route", "status", "bytes", "seconds",
)  # fmt: skip
"""Names that a line may carry beside time, level, logger and message (`extra=` of the logging calls)."""

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"

_process: dict[str, Any] = {}
"""Fields of every line of this process."""

attempts = logging.getLogger("medjobs.attempts")
"""A line for every attempt that begins and ends; silent in text, where a person would drown in them."""


def bind(**fields: Any) -> None:
    """From now on every line of this process says so: which worker it is, or the one job that it runs."""
    _process.update(fields)


class JsonLines(logging.Formatter):
    """A record as one line of JSON. Of an exception it gives the type and the frames, never the message: that quotes
    what was in the data."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        found = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_process,
            **{name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None},
        }
        if record.exc_info and record.exc_info[0] is not None:
            found |= {"exception": record.exc_info[0].__name__, "frames": _frames(record.exc_info[2])}
        return json.dumps(found, ensure_ascii=False, default=str)


def set_up(form: Format, level: int) -> None:
    """Log to standard error, of `level` and above. In JSON also what Python itself would print of warnings and of
    exceptions that nobody caught."""
    logging.basicConfig(level=level, format=TEXT)
    attempts.setLevel(logging.INFO if form == "json" else logging.WARNING)
    if form == "text":
        return
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = _ignored


def _uncaught(sort: type[BaseException], error: BaseException | None, frames: TracebackType | None) -> None:
    if issubclass(sort, SystemExit):
        return
    logging.getLogger("medjobs").critical("uncaught %s", sort.__name__, exc_info=(sort, error or sort(), frames))


def _ignored(args: sys.UnraisableHookArgs) -> None:
    """What Python cannot raise anywhere, such as a failure in a destructor."""
    trace = (args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
    logging.getLogger("medjobs").warning("ignored %s", args.exc_type.__name__, exc_info=trace)


def _frames(trace: TracebackType | None) -> list[str]:
    """Innermost last: file, line and function."""
    return [f"{one.filename.rsplit('/', 2)[-1]}:{one.lineno} {one.name}" for one in traceback.extract_tb(trace)[-8:]]
