"""Turns whatever a request raised into a problem; the framework's own errors too."""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import Callable

from flask import Flask, Response, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from api.problems import Problem
from jobs.errors import DatabaseUnavailable, JobError, RetryableError, StorageUnavailable

log = logging.getLogger("medjobs.api")

BY_STATUS = {
    401: "unauthenticated",
    403: "missing-scope",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    416: "range-not-satisfiable",
    431: "header-too-large",
}
"""The framework's statuses that have a code of their own; every other 4xx is a bad request."""

KEPT_HEADERS = ("Allow", "Content-Range", "Retry-After")
RETRY_AFTER_S = 2


def register(app: Flask) -> None:
    """Answer every exception of `app` with a problem."""
    handlers: dict[type[Exception], Callable[..., Response]] = {
        Problem: Problem.response,
        HTTPException: of_framework,
        JobError: of_dependency,
        Exception: of_defect,
    }
    for sort, handler in handlers.items():
        app.register_error_handler(sort, handler)


def of_framework(error: HTTPException) -> Response:
    """Werkzeug's and Flask's own errors: their texts may quote the URL or a form field, so ours stand instead."""
    if error.response is not None and error.code is None:  # an abort() with a ready response, such as a redirect
        return Response(status=404)
    if isinstance(error, ClientDisconnected):
        return Problem("body-cut-short").response()
    status = error.code or 500
    if status >= 500:
        return of_defect(error)
    headers = {k: v for k, v in error.get_headers(request.environ) if k in KEPT_HEADERS}
    if status == 413 and (limit := request.max_content_length) is not None:
        return Problem("body-too-large", f"Send at most {limit} bytes in this request.", headers=headers).response()
    return Problem(BY_STATUS.get(status, "bad-request"), headers=headers).response()


def of_dependency(error: JobError) -> Response:
    """Database or storage is down: 503. Any other coded error that comes here is a defect."""
    if not isinstance(error, RetryableError):
        return of_defect(error)
    names = {StorageUnavailable: "storage", DatabaseUnavailable: "database"}
    name = next((name for sort, name in names.items() if isinstance(error, sort)), "dependency")
    log.warning("%s unavailable on %s", name, request.url_rule)
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return Problem("dependency-unavailable", f"The {name} is unavailable. {error.detail}", headers=headers).response()


def of_defect(error: Exception) -> Response:
    """A 500 with an incident number under which the log has the place. The message stays out: it may quote data."""
    incident = secrets.token_hex(4)
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames[-6:]))
    log.error("incident %s: %s on %s at %s", incident, type(error).__name__, request.url_rule, place)
    detail = f"This is a defect of the server; report incident {incident}."
    return Problem("internal-error", detail, incident=incident).response()
