"""`create_app`: the Flask application of one API process."""

from __future__ import annotations

import time
from functools import partial

from flask import Response, g, request
from flask_openapi3.openapi import OpenAPI

from api import (
    datasets,
    events,
    failures,
    files,
    health,
    job_control,
    job_reading,
    jobs,
    kinds,
    models,
    openapi,
    promoting,
    registering,
    results,
    workers,
)
from api.auth import Authenticator
from api.cursors import Cursors
from api.headers import NO_SNIFFING
from api.holds import Holds
from api.metrics import Metrics
from api.outgoing import Outgoing
from api.poller import Poller
from api.routing import register
from api.services import EXTENSION, Services
from broker.dispatch import Dispatcher
from db import callers
from db.engine import Database
from jobs.settings import Settings
from registry.placing import Placing
from registry.versions import Registry
from storage.files import Storage

NOUNS = (
    files, jobs, job_reading, job_control, results, events, datasets, kinds, models, registering, promoting, workers,
    health,
)  # fmt: skip
"""Modules with routes, one noun each."""

UNMATCHED = "-"
"""Stands for the route in logs and metrics where no route matched: the URL itself may hold patient data."""


def create_app(settings: Settings) -> OpenAPI:
    """The application; opens no connection and starts no thread before the first request."""
    app = OpenAPI("api", info=openapi.INFO, doc_ui=False, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["PROPAGATE_EXCEPTIONS"] = False
    here = app.extensions[EXTENSION] = make_services(settings)
    for noun in NOUNS:
        register(app, noun.routes)
    app.register_blueprint(openapi.pages)
    failures.register(app)
    app.before_request(_begin)
    app.after_request(partial(_finish, here))
    return app


def make_services(settings: Settings) -> Services:
    """What the requests of one process share."""
    database = Database(settings.database, wait_s=settings.database_wait_s)
    storage = Storage(settings.storage, settings.home / "cache")
    registry = Registry(database, storage, settings.home / "models")
    return Services(
        settings=settings,
        database=database,
        storage=storage,
        registry=registry,
        placing=Placing(database, registry, settings.worker_dead_s),
        outgoing=Outgoing(Dispatcher(settings), database),
        authenticator=Authenticator(partial(callers.authenticate, database)),
        cursors=Cursors(settings.database),
        poller=Poller(database),
        holds=(holds := Holds(max(1, settings.api_threads // 2))),
        metrics=Metrics(database, storage, settings, holds),
    )


def route() -> str:
    """The pattern of the route that answers this request."""
    return UNMATCHED if request.url_rule is None else request.url_rule.rule


def _begin() -> None:
    g.started = time.perf_counter()


def _finish(here: Services, answer: Response) -> Response:
    for name, value in NO_SNIFFING.items():
        answer.headers.setdefault(name, value)
    request.environ["medjobs.route"] = route()
    request.environ["medjobs.job"] = (request.view_args or {}).get("job_id")
    held = "wait" in request.args or answer.mimetype == "text/event-stream"
    if not held:  # how long a caller chose to wait says nothing about us
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        here.metrics.answered(request.method, route(), answer.status_code, seconds)
    return answer
