"""POST, GET and DELETE /v1/files: uploaded bytes under their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request, send_file

from api import auth, documenting
from api.forms import FormReader, is_form
from api.headers import GUARDED
from api.problems import FieldError, Problem
from api.routing import Routes
from api.schemas import FileBody, FilePath
from api.services import services
from api.uploads import StoredFile, Upload, announced_of_body, announced_of_file, hold, read_chunks, store
from db import audit
from db import files as rows
from jobs.ids import DIGEST

routes = Routes("files", __name__, url_prefix="/v1")

FORM_OVERHEAD = 1 << 20
"""Bytes of a form beside its files: boundaries and part headers."""


@routes.post("/files", responses={201: FileBody}, openapi_extensions=documenting.UPLOAD)
@auth.needs("submit")
def upload() -> tuple[Response, int]:
    """Upload a file: the body is its bytes, or a form with one part named `file`.

    `X-Content-SHA256` (hex, of the file) and `Content-Digest` (of the body) are checked where they are sent.
    """
    here = services()
    file = _from_form() if is_form() else _from_body()
    hold(here.database, here.storage, auth.current().id, [file])
    answer = jsonify(file._asdict())
    answer.headers["Location"] = f"/v1/files/{file.id}"
    return answer, HTTPStatus.CREATED


@routes.get("/files/<file_id>", responses={200: documenting.BYTES})
@auth.needs("read")
def download(path: FilePath) -> Response:
    """The bytes of a file; `Range` is honoured."""
    digest = _digest(path.file_id)
    held = rows.get(services().database, auth.owner(), digest)
    if held is None:
        raise Problem("not-found")
    try:
        local = services().storage.local(digest)
    except FileNotFoundError:
        raise Problem("not-found", "The bytes of this file are gone; upload them again.") from None
    name = f"{digest.removeprefix('sha256:')[:16]}.bin"
    answer = send_file(
        local, held.media_type, as_attachment=True, download_name=name, conditional=True, etag=digest, max_age=0
    )
    answer.headers.update(GUARDED)
    return answer


@routes.delete("/files/<file_id>", responses={204: None})
@auth.needs("submit")
def forget(path: FilePath) -> tuple[str, int]:
    """Forget a file. Jobs that were submitted with it keep it until their inputs are due."""
    digest = _digest(path.file_id)
    caller = auth.current()
    if not rows.forget(services().database, caller.id, digest):
        raise Problem("not-found")
    audit.record(services().database, caller.id, "file.delete", digest)
    return "", HTTPStatus.NO_CONTENT


def _digest(file_id: str) -> str:
    if not DIGEST.fullmatch(file_id):
        raise Problem("not-found")
    return file_id


def _from_body() -> StoredFile:
    here = services()
    limit = request.max_content_length = here.settings.max_upload_bytes
    body, of_file = announced_of_body(), announced_of_file()
    if body is not None and of_file is not None and body != of_file:
        raise Problem("digest-mismatch", "X-Content-SHA256 and Content-Digest name different hashes.")
    return store(Upload(read_chunks(request.stream), of_file or body), here.storage, limit)


def _from_form() -> StoredFile:
    here = services()
    limit = here.settings.max_upload_bytes
    request.max_content_length = limit + FORM_OVERHEAD
    stored: StoredFile | None = None
    for part in FormReader(checked_body()):
        if part.name != "file" or stored is not None:
            raise Problem("invalid-request", errors=[FieldError("#", "Send one part, named `file`.")])
        stored = store(Upload(part.chunks(), announced_of_file()), here.storage, limit)
    if stored is None:
        raise Problem("invalid-request", errors=[FieldError("#/file", "Send the bytes as a part named `file`.")])
    return stored


def checked_body() -> Iterator[bytes]:
    """The request's body in chunks, held against `Content-Digest` where it was sent."""
    announced = announced_of_body()
    digest: Any = hashlib.sha256() if announced is not None else None
    for chunk in read_chunks(request.stream):
        if digest is not None:
            digest.update(chunk)
        yield chunk
    if digest is not None and digest.digest() != announced:
        raise Problem("digest-mismatch")
