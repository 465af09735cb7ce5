"""The API under gunicorn: one process, many threads, a log that holds route patterns and no URLs."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gunicorn import util
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker
from sqlalchemy.exc import DBAPIError

from api.app import UNMATCHED, create_app
from api.problems import MEDIA_TYPE, Problem
from api.services import EXTENSION, Services
from db import revisions
from db.engine import Database
from jobs import logs
from jobs.errors import JobError
from jobs.settings import Settings
from registry.shipped import import_shipped
from storage.files import Storage

log = logging.getLogger("medjobs.api")

ACCESS_LOG = "%(t)s %(m)s %({medjobs.route}e)s %(s)s %(B)s bytes %(D)s us"
"""Method, route pattern, status, size, duration. Never the URL: its query holds labels."""

GRACEFUL_S = 8
"""Time for uploads that are under way when the server is told to stop; held requests are let go at once."""

BACKLOG = 512


class PortTaken(OSError):
    """Something else listens on the address; choose another port, or 0 for a free one."""


class SchemaBehind(Exception):
    """The database has the schema of an older release; the text says what to do."""


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's thread worker; it lets held requests go when it stops, and answers broken HTTP with a problem."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: finish what is under way."""
        self._let_go()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGINT or SIGQUIT: stop now."""
        self._let_go()
        super().handle_quit(sig, frame)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """A request that is no HTTP. gunicorn's own answer and log line quote it; ours do not."""
        name = type(exc).__name__
        log.warning("refused a request that is not valid HTTP: %s", name)
        large = name in ("LimitRequestLine", "LimitRequestHeaders")
        problem = Problem("header-too-large" if large else "bad-request")
        body = json.dumps(problem.body()).encode()
        reason = "Request Header Fields Too Large" if large else "Bad Request"
        head = f"HTTP/1.1 {problem.sort.status} {reason}\r\nConnection: close\r\nContent-Type: {MEDIA_TYPE}\r\n"
        try:
            util.write_nonblock(client, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        except OSError:
            log.debug("the client was gone")

    def _let_go(self) -> None:
        app = getattr(self, "wsgi", None)
        if app is not None:
            app.extensions[EXTENSION].poller.stop()


class JsonLog(Logger):  # type: ignore[misc]
    """gunicorn's log, a JSON object a line."""

    def setup(self, cfg: Any) -> None:
        """Its handlers, with our form."""
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(logs.JsonLines())

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """One request, with the id of the job that its route names."""
        said = {
            "method": environ.get("REQUEST_METHOD"), "route": environ.get("medjobs.route", UNMATCHED),
            "job_id": environ.get("medjobs.job"), "status": resp.status_code, "bytes": resp.sent,
            "seconds": round(request_time.total_seconds(), 6),
        }  # fmt: skip
        self.access_log.info("request", extra=said)


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn without its command line: BaseApplication neither changes folder nor touches `sys.path`."""

    def __init__(self, settings: Settings, listener: socket.socket, url_file: Path | None, access_log: str) -> None:
        """`listener` is bound already; `url_file` gets the address once requests are answered."""
        self._settings, self._listener, self._url_file = settings, listener, url_file
        self._url = url_of(listener)  # asked now: gunicorn goes on with a copy of the socket and closes this one
        self._access_log = access_log
        super().__init__()

    def load_config(self) -> None:
        """Our settings; every one that gunicorn would read from the environment is set here."""
        settings = {
            "bind": [f"fd://{self._listener.fileno()}"],
            "workers": 1,  # the poller, the cache of tokens and the metrics are per process; more hosts, more processes
            "worker_class": Worker,
            "threads": self._settings.api_threads,
            "worker_connections": 1000,
            "backlog": BACKLOG,
            "timeout": 60,  # silence of the worker's main loop, not of a request
            "graceful_timeout": GRACEFUL_S,
            "keepalive": 75,  # longer than the idle time of usual proxies, so that they close first
            "accesslog": self._access_log,
            "access_log_format": ACCESS_LOG,
            "errorlog": "-",
            "logger_class": JsonLog if self._settings.log_format == "json" else Logger,
            "loglevel": "warning",
            "proc_name": "medjobs-api",
            "control_socket_disable": True,
            "post_worker_init": self._ready,
            "worker_exit": _close,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, made in the worker process."""
        return create_app(self._settings)

    def _ready(self, worker: Any) -> None:
        if self._url_file is not None:
            partial = self._url_file.with_name(f"{self._url_file.name}.{os.getpid()}.new")
            partial.write_text(f"{self._url}\n")
            partial.replace(self._url_file)


def _close(_arbiter: Any, worker: Any) -> None:
    app = getattr(worker, "wsgi", None)
    if app is not None:
        here: Services = app.extensions[EXTENSION]
        here.close()


def listen(bind: str, silence_s: float = 60.0) -> socket.socket:
    """A bound socket for "host:port" (port 0: a free one); raises `PortTaken`, or ValueError for another text.

    Its connections are given up where a read or a write waits longer than `silence_s`. gunicorn has no such limit, and
    a client that vanished in the middle of a request would keep its thread for ever.
    """
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("give --bind as HOST:PORT, for example 127.0.0.1:8000")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    silence = struct.pack("ll", int(silence_s), int(silence_s % 1 * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        listener.setsockopt(socket.SOL_SOCKET, option, silence)
    try:
        listener.bind((host, int(port)))
    except OSError as error:
        listener.close()
        raise PortTaken(error.errno, f"{bind}: {error.strerror}; choose another port, or 0 for a free one") from None
    listener.listen(BACKLOG)
    listener.set_inheritable(True)
    return listener


def _say_silence(record: logging.LogRecord) -> bool:
    """gunicorn's traceback of a read or write that waited too long, as what it is: a client that was given up."""
    if record.exc_info and isinstance(record.exc_info[1], BlockingIOError):
        record.msg, record.args, record.exc_info = "a client stopped in the middle of a request; given up", (), None
    return True


def url_of(listener: socket.socket) -> str:
    """Where a client on this host reaches the socket."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:  # every address: a client of this host takes the loopback
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def without_working_folder(path: Sequence[str]) -> list[str]:
    """`sys.path` without the folder we stand in: a user's own `models/` there must not replace ours.

    The project's root stays where it is the installed place of our packages (a development checkout).
    """
    ours = Path(__file__).resolve().parent.parent
    here = Path.cwd().resolve()
    return [entry for entry in path if here == ours or (entry != "" and Path(entry).resolve() != here)]


def register_shipped(settings: Settings) -> None:
    """Register the model versions that come with this release, once, before gunicorn forks; closes what it opened.

    A database or storage that is away, or a schema that is not there yet, does not keep the API from starting: workers
    register them too.
    """
    database = Database(settings.database, wait_s=settings.database_wait_s)
    try:
        import_shipped(database, Storage(settings.storage, settings.home / "cache"))
    except (JobError, DBAPIError) as error:
        log.warning("the shipped models are not registered yet: %s; see `medjobs doctor`", type(error).__name__)
    finally:
        database.close()


def refuse_old_schema(settings: Settings) -> None:
    """Raise `SchemaBehind` where migrations are missing: this code would fail at every request.

    A database that is away or empty is waited for: `/readyz` says so.
    """
    database = Database(settings.database, pool_size=1, wait_s=settings.database_wait_s)
    try:
        found = revisions.standing(database)
    except (JobError, DBAPIError):
        return
    finally:
        database.close()
    if found.at is not None and found.behind:
        raise SchemaBehind(
            f"the database has the schema {found.at}, older than this code, which needs {found.newest}; "
            "run `medjobs db upgrade` with this release, once, then start again"
        )


def run(settings: Settings, bind: str, url_file: Path | None = None, access_log: str = "-") -> None:
    """Serve until a signal ends it."""
    sys.path[:] = without_working_folder(sys.path)
    logs.set_up(settings.log_format, logging.WARNING)
    logging.getLogger("medjobs").setLevel(logging.INFO)
    if url_file is not None:
        url_file.unlink(missing_ok=True)
    logging.getLogger("gunicorn.error").addFilter(_say_silence)
    refuse_old_schema(settings)
    listener = listen(bind, settings.client_silence_s)
    log.info("listening on %s", url_of(listener))
    register_shipped(settings)
    Server(settings, listener, url_file, access_log).run()
