"""`medjobs token`: access tokens, made and revoked on the machine that holds the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from medjobs.failing import Trouble

SCOPES = ("read", "submit", "admin")


@click.group()
def token() -> None:
    """Create, list and revoke access tokens; works on the database itself, without a running server."""


@token.command()
@click.argument("caller")
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, default=("read", "submit"), show_default=True
)
@click.option("--days", type=click.FloatRange(0, min_open=True), help="Days until it expires.  [default: never]")
@click.option("--json", "raw", is_flag=True, help="Print JSON.")
def create(caller: str, scopes: tuple[str, ...], days: float | None, raw: bool) -> None:
    """Make a token for CALLER, who is created where new. It is shown once and kept only as a hash."""
    from db import callers

    with _database() as database:
        made = callers.create_token(database, caller, scopes, None if days is None else days * 86400)
    if raw:
        from medjobs.screen import as_json

        as_json({"token": made, "caller": caller, "scopes": list(scopes)})
    else:
        click.echo(made)


@token.command("list")
@click.option("--json", "raw", is_flag=True, help="Print JSON.")
def listed(raw: bool) -> None:
    """List the tokens: whose, which scopes, until when; never the token itself."""
    from db import callers
    from medjobs.screen import as_json, console, table

    with _database() as database:
        known = [one._asdict() for one in callers.list_tokens(database)]
    if raw:
        as_json(known)
        return
    columns = list(known[0]) if known else ["id"]
    console().print(table(columns, [[_cell(name, one[name]) for name in columns] for one in known]))


@token.command()
@click.argument("token_id", type=int)
def revoke(token_id: int) -> None:
    """Revoke the token with that id (`medjobs token list` shows it); it stops working at once."""
    from db import callers

    with _database() as database:
        if not callers.revoke(database, token_id):
            raise Trouble(f"There is no live token {token_id}.", "See `medjobs token list` for the ids.")
    click.echo(f"Revoked {token_id}.")


@contextmanager
def _database() -> Iterator[Any]:
    from db import schema
    from db.engine import Database
    from medjobs.environment import read_settings

    settings = read_settings()
    if schema.current(settings.database) is None:
        raise Trouble("The database is empty.", "Run `medjobs db upgrade`, or start the stack with `medjobs up`.")
    database = Database(settings.database, wait_s=settings.database_wait_s)
    try:
        yield database
    finally:
        database.close()


def _cell(name: str, value: Any) -> str:
    from datetime import UTC, datetime

    if isinstance(value, float) and (name.endswith("_at") or "expire" in name):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple, set, frozenset)) else str(value or "")
