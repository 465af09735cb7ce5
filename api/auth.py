"""Who calls: the bearer token, looked up by its hash and remembered for a few seconds."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from flask import g, request

from api.problems import Problem
from db.callers import Caller

View = TypeVar("View", bound=Callable[..., object])

CACHE_S = 3.0
"""How long a token is believed without asking the database: a revoked or expired one works this much longer."""

MOST_CACHED = 4096
"""Tokens remembered at once; beyond it the memory is emptied, which costs one look-up each."""

_BEARER = re.compile(r"Bearer +([\x21-\x7e]{1,256}) *", re.IGNORECASE)


class Authenticator:
    """Tokens to callers. Safe in many threads."""

    def __init__(self, look_up: Callable[[str], Caller | None]) -> None:
        """`look_up` asks the database; it compares hashes in constant time."""
        self._look_up = look_up
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def caller(self, token: str) -> Caller | None:
        """The caller of a valid token. Only good tokens are remembered, under their hash, never in plain text."""
        digest = hashlib.sha256(token.encode()).digest()
        now = time.monotonic()
        found = self._known.get(digest)
        if found is not None and found[0] > now:
            return found[1]
        caller = self._look_up(token)
        with self._lock:
            if caller is None:
                self._known.pop(digest, None)
            else:
                if len(self._known) >= MOST_CACHED:
                    self._known.clear()
                self._known[digest] = (now + CACHE_S, caller)
        return caller


def needs(scope: str) -> Callable[[View], View]:
    """Mark a view: only a token with this scope (or admin) may call it. api/routing.py enforces the mark."""

    def mark(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return mark


def authorise(scope: str, authenticator: Authenticator) -> None:
    """Put the caller into `flask.g`; raises 401 or 403."""
    header = request.headers.get("Authorization")
    challenge = {"WWW-Authenticate": 'Bearer realm="medjobs"'}
    if header is None:
        raise Problem("unauthenticated", headers=challenge)
    match = _BEARER.fullmatch(header)
    caller = authenticator.caller(match.group(1)) if match else None
    if caller is None:
        detail = "The token is unknown, expired or revoked; `medjobs token create` makes a new one."
        invalid = {"WWW-Authenticate": 'Bearer realm="medjobs", error="invalid_token"'}
        raise Problem("unauthenticated", detail, headers=invalid)
    g.caller = caller
    if scope not in caller.scopes and "admin" not in caller.scopes:
        lacking = {"WWW-Authenticate": f'Bearer realm="medjobs", error="insufficient_scope", scope="{scope}"'}
        raise Problem("missing-scope", f"This call needs a token with the scope {scope}.", headers=lacking)


def current() -> Caller:
    """The caller of this request."""
    caller: Caller = g.caller
    return caller


def owner() -> int | None:
    """Whose things this request may see: the caller's own, or everybody's (None) for an admin."""
    caller = current()
    return None if "admin" in caller.scopes else caller.id
