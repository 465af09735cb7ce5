"""POST /v1/jobs as a form: fields by name, `params` and `labels` as JSON text, one part `file` per input."""

from __future__ import annotations

from typing import Any

from flask import request

from api import bodies
from api.accepting import validated
from api.files import FORM_OVERHEAD, checked_body
from api.forms import FormReader, once
from api.problems import FieldError, Problem, pointer
from api.services import services
from api.submission import Submission
from api.uploads import StoredFile, Upload, announced_of_file, store

AS_JSON = frozenset({"params", "labels", "inputs"})
AS_NUMBER = {"priority": int, "seed": int, "timeout_s": float}


def read_form() -> tuple[Submission, list[StoredFile]]:
    """The submission, its files appended to `inputs`, and the files, which lie in the storage but are nobody's yet."""
    here = services()
    limit = here.settings.max_upload_bytes
    request.max_content_length = limit + FORM_OVERHEAD + here.settings.max_body_bytes
    fields: dict[str, Any] = {}
    files: list[StoredFile] = []
    for part in FormReader(checked_body()):
        if part.name == "file":
            files.append(store(Upload(part.chunks(), announced_of_file()), here.storage, limit))
        elif part.name in Submission.model_fields:
            once(part.name, fields)
            fields[part.name] = _value(part.name, part.text(here.settings.max_body_bytes))
        else:
            known = ", ".join(["file", *Submission.model_fields])
            raise Problem("invalid-request", errors=[FieldError("#", f"Remove the unknown field. Known: {known}.")])
    inputs = fields.get("inputs", [])
    if isinstance(inputs, list):
        fields["inputs"] = [*inputs, *(file.id for file in files)]
    return validated(Submission, fields), files


def _value(name: str, text: str) -> Any:
    """The text of a field as the JSON body would have it."""
    if name in AS_JSON:
        try:
            return bodies.parse(text.encode())
        except Problem as problem:
            if problem.errors:
                raise
            raise Problem(problem.code, errors=[FieldError(pointer(name), "Give this field as JSON text.")]) from None
    if bodies.UNSAFE_TEXT.search(text):
        raise Problem("invalid-request", errors=[FieldError(pointer(name), bodies.UNSAFE_DETAIL)])
    if name in AS_NUMBER:
        try:
            return AS_NUMBER[name](text)
        except ValueError:
            raise Problem("invalid-request", errors=[FieldError(pointer(name), "Give a number.")]) from None
    return text
