"""The registry part of the Python client: models, versions, aliases, gate, comparison, own models.

Imports the client and the standard library alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from medjobs.client import Client, MedjobsError

PRODUCTION = "production"
"""The alias that a name alone stands for."""


class Models:
    """What the registry holds. Iterate over it for every model."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.client.get("/v1/models")["models"])

    def get(self, name: str) -> dict[str, Any]:
        """A model: kind, aliases, gate, history of its aliases, and its versions, newest first."""
        found: dict[str, Any] = self.client.get(_path(name))
        return found

    def version(self, name: str, number: int) -> dict[str, Any]:
        """A version: its manifest (metrics, baseline, card), files, lineage, and the job that made it."""
        found: dict[str, Any] = self.client.get(f"{_path(name)}/versions/{number}")
        return found

    def number(self, reference: str) -> tuple[str, int]:
        """(name, number) of `name`, `name@3` or `name@alias`; a name without `production` means its newest version."""
        name, _, which = reference.partition("@")
        if which.isdecimal():
            return name, int(which)
        model = self.get(name)
        if number := model["aliases"].get(which or PRODUCTION):
            return name, int(number)
        if not which and model["versions"]:
            return name, int(model["versions"][0]["version"])
        known = ", ".join([*model["aliases"], *(str(one["version"]) for one in model["versions"])])
        raise MedjobsError("unknown-model", f"{name} has no version or alias {which}", f"It has: {known}.")

    def file(self, name: str, number: int, path: str) -> bytes:
        """The bytes of one file of a version, such as "weights.safetensors"."""
        return self.client.content(f"{_path(name)}/versions/{number}/files/{quote(path)}")

    def promote(
        self, name: str, number: int, *, alias: str = PRODUCTION, reason: str | None = None, force: bool = False
    ) -> dict[str, Any]:
        """Let the alias mean this version. Raises `MedjobsError` (gate-not-passed) where the model's gate says no.

        `force` (admin, with a reason) goes through all the same, and is recorded.
        """
        body = {"version": number, "force": force} | ({} if reason is None else {"reason": reason})
        moved: dict[str, Any] = self.client.send("PUT", f"{_path(name)}/aliases/{_part(alias)}", json=body).json()
        return moved

    def history(self, name: str, alias: str | None = None) -> list[dict[str, Any]]:
        """Every move of its aliases (or of one), newest first: before, after, by whom, when, why."""
        moves = self.get(name).get("history") or []
        return [move for move in moves if alias in (None, move["alias"])]

    def rollback(self, name: str, *, alias: str = PRODUCTION, reason: str | None = None, force: bool = False) -> Any:
        """Let the alias mean what it meant before; once more, what it meant before that. Never what was rolled back."""
        line = _line(self.history(name, alias))
        if len(line) < 2:
            title = f"{name}@{alias} meant nothing before that it could go back to"
            raise MedjobsError("no-earlier-version", title, "Promote a version by its number.")
        return self.promote(name, line[-2], alias=alias, reason=reason or "rollback", force=force)

    def set_gate(self, name: str, gate: Mapping[str, Any] | None) -> dict[str, Any]:
        """Declare what a version must pass before `production` moves to it; None: nothing.

        `gate`: `{"metric": "auc", "margin": 0.0, "subgroups": True, "subgroup_margin": 0.05}`.
        """
        # Written out, because `json=None` would send no body at all.
        body = json.dumps(None if gate is None else dict(gate)).encode()
        headers = {"Content-Type": "application/json"}
        answer = self.client.send("PUT", f"{_path(name)}/gate", content=lambda: body, headers=headers)
        found: dict[str, Any] = answer.json()
        return found

    def compare(self, name: str, a: int, b: int) -> dict[str, Any]:
        """Version b against a on the cases of the test part: each difference with its 95 % interval, and subgroups."""
        found: dict[str, Any] = self.client.get(f"{_path(name)}/compare", {"a": a, "b": b})
        return found

    def add(
        self,
        name: str,
        kind: str,
        files: Mapping[str, str | os.PathLike[str]],
        *,
        contract: Mapping[str, Any],
        network: str | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Register weights of your own (admin): `files` maps "weights.safetensors" or "model.pt2" to a path.

        `network` is the "package.module:function" that builds the network for weights; an exported program needs none.
        """
        ids = {entry: self.client.upload(path) for entry, path in files.items()}
        body = {"name": name, "kind": kind, "files": ids, "network": network, "contract": dict(contract)}
        answer = self.client.send("POST", "/v1/models", json={**body, "card": dict(card or {})})
        found: dict[str, Any] = answer.json()
        return found


def _line(history: Sequence[Mapping[str, Any]]) -> list[int]:
    """What an alias came by to where it is, which stands last: a return to a version gives up all that came after it.

    `history`: its moves, newest first.
    """
    line: list[int] = []
    for move in reversed(history):
        for number in (move["before"], move["after"]):
            if number is not None:
                line = [*line[: line.index(number)], number] if number in line else [*line, number]
    return line


def _part(text: str) -> str:
    return quote(text, safe="")


def _path(name: str) -> str:
    return f"/v1/models/{_part(name)}"
