"""From what a user typed to the thing: a job's id or the beginning of one, `name=value` pairs, files and folders."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medjobs.client import Client, Job
from medjobs.failing import USAGE, Trouble

_PART = re.compile(r"[0-9a-f][0-9a-f-]{0,35}")

SEARCHED = 2000
"""Newest jobs among which the beginning of an id is looked for."""


def find(client: Client, typed: str) -> Job:
    """The job whose id is `typed`, or the only one among the newest whose id begins or ends with it."""
    part = typed.strip().lower()
    if not _PART.fullmatch(part):
        raise Trouble("That is not a job's id.", "See `medjobs jobs` for the ids.", USAGE)
    if len(part) == 36:
        return client.job(part)
    found = [job for job in client.jobs(limit=SEARCHED) if job.id.startswith(part) or job.id.endswith(part)]
    if not found:
        happened = f"None of the {SEARCHED} newest jobs has an id that begins or ends with {part}."
        raise Trouble(happened, "See `medjobs jobs`, or type the whole id.")
    if len(found) > 1:
        some = ", ".join(job.id for job in found[:3])
        raise Trouble(
            f"{len(found)} jobs match {part}: {some}{' ...' if len(found) > 3 else ''}", "Type more of the id."
        )
    return found[0]


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """`("a=1", "b=2")` as a dictionary."""
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise Trouble(f"{option} needs the form name=value.", f"For example {option} explain=false.", USAGE)
        found[name.strip()] = value
    return found


def values(given: Iterable[str], option: str) -> dict[str, Any]:
    """Like `pairs`, with each value read as JSON where it is JSON: `explain=false`, `top=5`, `note=some text`."""
    found: dict[str, Any] = {}
    for name, text in pairs(given, option).items():
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def json_object(text: str, option: str) -> dict[str, Any]:
    """The JSON object that `text` is. What is wrong is told by its place: the text may be a patient's data."""
    try:
        found = json.loads(text)
    except ValueError as error:
        place = f", at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Trouble(f"{option} is not JSON{place}.", f"Put it in single quotes: {option} '{{...}}'.", USAGE) from None
    if not isinstance(found, dict):
        raise Trouble(f"{option} is not a JSON object.", f"Write {option} '{{\"name\": value}}'.", USAGE)
    return found


def files(given: Iterable[Path]) -> list[Path]:
    """The files, with each folder replaced by the files in it (hidden ones left out), sorted by path."""
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.is_file())
            found += sorted(file for file in inside if not any(p.startswith(".") for p in file.relative_to(path).parts))
        else:
            found.append(path)
    return found
