"""Cursors of listings: the place in the order, signed, and tied to the caller and the filters."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from api.problems import FieldError, Problem

TAG_BYTES = 16


class Cursors:
    """Signs and reads cursors. The key comes from the database's URL: every API process on it reads the others'."""

    def __init__(self, secret: str) -> None:
        """`secret` is hashed; it never leaves the process."""
        self._key = hashlib.sha256(b"medjobs cursor\0" + secret.encode()).digest()

    def sign(self, place: tuple[float, str], context: Any) -> str:
        """The cursor after the job created at `place[0]` with the id `place[1]`."""
        payload = json.dumps(place, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._tag(payload, context) + payload).decode().rstrip("=")

    def read(self, cursor: str, context: Any) -> tuple[float, str]:
        """The place that `sign` put in; raises a problem where the cursor is not ours or of another list."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            tag, payload = raw[:TAG_BYTES], raw[TAG_BYTES:]
            if not hmac.compare_digest(tag, self._tag(payload, context)):
                raise ValueError
            at, job_id = json.loads(payload)
            return float(at), str(job_id)
        except (ValueError, binascii.Error):
            remedy = "Use `next` as the list gave it, with the same filters and token; or leave it out to start again."
            raise Problem("invalid-cursor", errors=[FieldError("#/query/cursor", remedy)]) from None

    def _tag(self, payload: bytes, context: Any) -> bytes:
        bound = json.dumps(context, sort_keys=True).encode()
        return hmac.new(self._key, hashlib.sha256(bound).digest() + payload, hashlib.sha256).digest()[:TAG_BYTES]
