"""Callers and their tokens. A token is shown once; the database keeps its SHA-256."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Table, bindparam, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.clock import now
from db.engine import Database
from db.rows import CallerRow, TokenRow
from db.text import clean

_CALLERS = cast(Table, CallerRow.__table__)
_TOKENS = cast(Table, TokenRow.__table__)

SCOPES = ("read", "submit", "admin")
"""What a token may do; `admin` sees every caller's things."""


class Caller(NamedTuple):
    """Who a token speaks for."""

    id: int
    name: str
    scopes: frozenset[str]
    token_id: int


class TokenView(NamedTuple):
    """A token as listings show it, without its secret."""

    id: int
    caller: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None


def create_token(db: Database, caller_name: str, scopes: Sequence[str], expires_in_s: float | None = None) -> str:
    """Make a token ("mj_" and 43 characters) for a caller, who is made where new. This is the only time it is seen.

    Raises ValueError for an unknown scope or an empty name.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ValueError(f"Unknown scopes {unknown}: use one or more of {', '.join(SCOPES)}.")
    if not caller_name.strip():
        raise ValueError("A caller needs a name.")
    token = "mj_" + secrets.token_urlsafe(32)

    def work(connection: Connection) -> None:
        caller_id = _caller_id(connection, clean(caller_name))
        expires = None if expires_in_s is None else now() + expires_in_s
        values = {"caller_id": caller_id, "hash": _hash(token), "scopes": sorted(set(scopes)), "expires_at": expires}
        connection.execute(insert(_TOKENS).values(created_at=now(), **values))

    db.transact(work)
    return token


def caller_id(db: Database, caller_name: str) -> int:
    """The id of the caller of that name, who is made where new."""
    return db.transact(lambda connection: _caller_id(connection, clean(caller_name)))


def authenticate(db: Database, token: str) -> Caller | None:
    """Whose token it is; None where it is unknown, revoked or expired."""
    hashed = _hash(token)
    row = db.query(lambda connection: connection.execute(_VALID, {"hashed": hashed}).one_or_none())
    # The index found the hash already; comparing again in constant time costs nothing and outlives any cache before it.
    if row is None or not hmac.compare_digest(row.hash, hashed):
        return None
    return Caller(row.caller_id, row.name, frozenset(row.scopes), row.id)


def administers(connection: Connection, caller_id: int) -> bool:
    """Whether a caller has been given a token with the scope admin. One that expired counts, because a training may
    outlast the token that it was submitted with; one that was revoked does not."""
    given = select(_TOKENS.c.scopes).where(_TOKENS.c.caller_id == caller_id, _TOKENS.c.revoked_at.is_(None))
    return any("admin" in scopes for scopes in connection.execute(given).scalars())


def list_tokens(db: Database, caller_name: str | None = None) -> list[TokenView]:
    """All tokens (of one caller), oldest first."""
    statement = _LISTING if caller_name is None else _LISTING.where(_CALLERS.c.name == caller_name)
    rows = db.query(lambda connection: connection.execute(statement).all())
    return [
        TokenView(row.id, row.name, tuple(row.scopes), row.created_at, row.expires_at, row.revoked_at) for row in rows
    ]


def revoke(db: Database, token_id: int) -> bool:
    """End a token now; False where no valid token has that number."""
    statement = update(_TOKENS).where(_TOKENS.c.id == token_id, _TOKENS.c.revoked_at.is_(None)).values(revoked_at=now())
    return db.transact(lambda connection: connection.execute(statement).rowcount > 0)


def webhook_secret(db: Database, caller: int) -> str | None:
    """The base64 secret that signs a caller's webhooks; None where there is no such caller."""
    statement = select(_CALLERS.c.webhook_secret).where(_CALLERS.c.id == caller)
    return db.query(lambda connection: connection.execute(statement).scalar_one_or_none())


def _caller_id(connection: Connection, name: str) -> int:
    insertion: Any = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(_CALLERS)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    values = insertion.values(name=name, webhook_secret=secret, created_at=now())
    connection.execute(values.on_conflict_do_nothing(index_elements=["name"]))
    return int(connection.execute(select(_CALLERS.c.id).where(_CALLERS.c.name == name)).scalar_one())


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


_JOINED = _TOKENS.join(_CALLERS, _CALLERS.c.id == _TOKENS.c.caller_id)
_VALID = (
    select(_TOKENS.c.id, _TOKENS.c.caller_id, _TOKENS.c.hash, _TOKENS.c.scopes, _CALLERS.c.name)
    .select_from(_JOINED)
    .where(
        _TOKENS.c.hash == bindparam("hashed"),
        _TOKENS.c.revoked_at.is_(None),
        or_(_TOKENS.c.expires_at.is_(None), _TOKENS.c.expires_at > now()),
    )
)
_LISTING = (
    select(
        _TOKENS.c.id,
        _CALLERS.c.name,
        _TOKENS.c.scopes,
        _TOKENS.c.created_at,
        _TOKENS.c.expires_at,
        _TOKENS.c.revoked_at,
    )
    .select_from(_JOINED)
    .order_by(_TOKENS.c.id)
)
