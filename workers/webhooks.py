"""Webhooks as Standard Webhooks asks: signed, at least once, ids and states only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from db import outbox
from db.engine import Database
from db.outbox import Call
from jobs.allowance import Allowance
from jobs.settings import Settings
from workers.calling import Refused, post, resolve

log = logging.getLogger("medjobs.keeper")

RETRIES_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Pauses between tries, as Standard Webhooks proposes: three days in all."""

AT_ONCE = 8
"""Calls made side by side: a slow target must not hold up the others."""


class Webhooks:
    """Delivers what the outbox holds."""

    def __init__(self, db: Database, settings: Settings) -> None:
        """Opens nothing."""
        self._db = db
        self._allowance = Allowance.parse(settings.webhook_allow)
        self._timeout_s, self._reserve_s = settings.webhook_timeout_s, settings.webhook_reserve_s
        # No more than can be made, at their slowest, while they are reserved: connecting and answering have a timeout
        # each.
        self._most = AT_ONCE * max(1, int(self._reserve_s / (2 * self._timeout_s)))
        self._callers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")

    def deliver(self) -> int:
        """Make the calls that are due, once; how many there were."""
        calls = outbox.due(self._db, self._most, reserve_s=self._reserve_s)
        list(self._callers.map(self._call, calls))
        return len(calls)

    def close(self) -> None:
        """Wait for the calls in flight, which have their timeouts; those not begun are made by the next keeper."""
        self._callers.shutdown(cancel_futures=True)

    def _call(self, call: Call) -> None:
        try:
            problem, again = self._post(call)
        except Exception as error:
            problem, again = type(error).__name__, True
        try:
            if problem is None:
                outbox.delivered(self._db, call.id)
                return
            pause = RETRIES_S[call.tries] if again and call.tries < len(RETRIES_S) else None
            then, said = "given up" if pause is None else "again later", {"job_id": call.job_id}
            log.warning("webhook of job %s: %s; %s", call.job_id, problem, then, extra=said)
            outbox.failed(self._db, call.id, problem, pause)
        except Exception as error:
            log.error("%s after a webhook; it is called again", type(error).__name__)

    def _post(self, call: Call) -> tuple[str | None, bool]:
        """What went wrong, if anything, and whether it can come right."""
        try:
            target = resolve(call.url, self._allowance)
            moment = int(time.time())
            content = body(call)
            status = post(target, content, headers(call, content, moment), self._timeout_s)
        except Refused as refused:
            return str(refused), False
        except (OSError, http.client.HTTPException) as error:
            return f"no answer ({type(error).__name__})", True
        if 200 <= status < 300:
            return None, False
        return f"answered {status}", status != 410


def body(call: Call) -> bytes:
    """The payload: which job, what kind, and where it ended."""
    moment = datetime.fromtimestamp(call.created_at, UTC).isoformat().replace("+00:00", "Z")
    data = {"id": call.job_id, "kind": call.kind, "state": call.state}
    return json.dumps({"type": f"job.{call.state}", "timestamp": moment, "data": data}).encode()


def headers(call: Call, content: bytes, moment: int) -> dict[str, str]:
    """Standard Webhooks' three headers; the id stays the same when the call is repeated."""
    message_id = f"msg_{call.id}"
    return {
        "content-type": "application/json",
        "user-agent": "medjobs",
        "webhook-id": message_id,
        "webhook-timestamp": str(moment),
        "webhook-signature": signature(call.secret, message_id, moment, content),
    }


def signature(secret: str, message_id: str, moment: int, content: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 over `id.timestamp.body`; `secret`: base64, with `whsec_` or not."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = secret.encode()
    signed = f"{message_id}.{moment}.".encode() + content
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
