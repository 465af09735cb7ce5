"""Pieces of the OpenAPI document that annotations cannot say."""

from __future__ import annotations

from typing import Any

from api.submission import Submission


def ref(name: str) -> dict[str, str]:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description}


KEY = _header("Idempotency-Key", "A replay with the same key and body answers with the same job, for ever.")
DIGEST_HEX = _header("X-Content-SHA256", "SHA-256 of the file, hex; 422 where the bytes differ.")
DIGEST = _header("Content-Digest", "RFC 9530, sha-256, of the body; 422 where the bytes differ.")

_FORM = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in Submission.model_fields},
        "params": {"type": "string", "description": "JSON text."},
        "labels": {"type": "string", "description": "JSON text."},
        "inputs": {"type": "string", "description": "JSON text; the files come after these."},
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "One per input."},
    },
    "required": ["kind"],
}

SUBMIT = {
    "parameters": [KEY],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": ref("Submission")}, "multipart/form-data": {"schema": _FORM}},
    },
}
BATCH = {
    "parameters": [KEY],
    "requestBody": {"required": True, "content": {"application/json": {"schema": ref("Batch")}}},
}
UPLOAD = {
    "parameters": [DIGEST_HEX, DIGEST],
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    },
}
MOVE = {"requestBody": {"required": True, "content": {"application/json": {"schema": ref("AliasMove")}}}}
GATE = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"anyOf": [ref("Gate"), {"type": "null"}]}}},
    }
}
ENTRIES = {
    "description": "With `atomic: false`: what became of each entry.",
    "content": {"application/json": {"schema": ref("EntriesBody")}},
}
BYTES = {"description": "The bytes.", "content": {"application/octet-stream": {"schema": {"type": "string"}}}}
STREAM = {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
TEXT = {"description": "Prometheus text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
