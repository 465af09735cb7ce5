"""A generator's card in Markdown, in the order of CHAI's applied model card, from its manifest. No torch, no date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jobs.results import DISCLAIMER
from models.synthesis import tables
from models.training.card import WORDS


def card(manifest: Mapping[str, Any]) -> str:
    """Return the card's text."""
    said, data = manifest["card"], manifest["data"]
    counts = ", ".join(f"{name} {count}" for name, count in data["counts"].items())
    counted = f"{counts} {tables.draws(manifest)}"
    parts = [
        f"# {manifest['name']}",
        f"{manifest['summary']} {DISCLAIMER}",
        f"Classes: {', '.join(manifest['classes'])}. Whatever it draws is marked as synthetic.",
        *(f"## {title}\n\n{said.get(key) or 'Not stated.'}" for key, title in WORDS.items()),
        "## Data",
        f"{data['source']} ({counted}), fingerprint `{data['fingerprint']}`. Licence: {data['license']}.",
        "## Gate",
        tables.verdict(manifest),
        *figures(manifest),
        "## How the training went",
        " ".join(manifest["health"]) or "No mode collapse, no divergence, and a discriminator that knows nobody.",
        "## Making it again",
        f"Run the training job again (`medjobs verify JOB`): seed {manifest['seeds'][0]}; equal threads, instruction "
        "set and libraries give equal weights. The discriminator is not kept: it knows best what it was trained on.",
    ]
    return "\n\n".join(parts) + "\n"


def figures(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The tables with their notes."""
    titled: dict[str, tuple[Iterable[str], Iterable[tuple[str, ...]]]] = {
        "Quality": (tables.QUALITY_HEAD, tables.quality(manifest)),
        "Usefulness": (tables.USE_HEAD, tables.usefulness(manifest)),
        "Privacy": (tables.PRIVACY_HEAD, tables.privacy(manifest)),
    }
    for title, (head, rows) in titled.items():
        listed = list(rows)
        yield f"## {title}"
        yield _table(tuple(head), listed) if listed else "Not measured: there is too little data."
    yield from tables.notes(manifest)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)
