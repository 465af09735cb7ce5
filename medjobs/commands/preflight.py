"""`medjobs preflight`: which model takes which image, from headers and input contracts alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imaging.header import Header
    from jobs.predicting import ModelVersion

KIND = "diagnosis"
"""The kind whose models have an input contract on images."""


@dataclass
class Checked:
    """A file: what it is, and for each model the reason why it does not take it (None where it does)."""

    path: Path
    image: str
    refused: dict[str, str] | None = None
    """Code and detail where it is no usable image for any model."""

    models: dict[str, dict[str, str] | None] = field(default_factory=dict)


@click.command()
@click.argument("places", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FOLDER...")
@click.option(
    "--model", "only", multiple=True, help="Only this model, as name, name@version or name@alias; repeatable."
)
@click.option("--json", "raw", is_flag=True, help="Print JSON.")
def preflight(places: Sequence[Path], only: Sequence[str], raw: bool) -> int:
    """Say for each image in FOLDER which model takes it, with the reason where one does not.

    Reads headers alone, here: no server, no inference, nothing leaves this machine, and no patient's data is printed.
    The exit code is 1 where no model takes any file.
    """
    from medjobs import reference, screen

    chosen = _models(only)
    found = [check(path, chosen) for path in reference.files(places)]
    taken = {name: sum(one.refused is None and one.models[name] is None for one in found) for name in chosen}
    if raw:
        screen.as_json([_as_json(one) for one in found])
    else:
        _print(found, list(chosen))
        for name, count in taken.items():
            click.echo(f"{name} takes {count} of {len(found)} files.")
    return 0 if any(taken.values()) else 1


def check(path: Path, chosen: Mapping[str, ModelVersion]) -> Checked:
    """Hold one file against every chosen model. Nothing of its patient is kept, only closed lists and numbers."""
    from imaging.header import read_header
    from jobs.errors import InputError
    from models.diagnosis.contract import check as hold_against

    try:
        header = read_header(path)
    except (InputError, OSError) as error:
        return Checked(path, "-", _reason(error))
    checked = Checked(path, _image(header))
    for name, version in chosen.items():
        try:
            hold_against(header, version.manifest["contract"])
            checked.models[name] = None
        except InputError as error:
            checked.models[name] = _reason(error)
    return checked


def _models(only: Sequence[str]) -> dict[str, ModelVersion]:
    """The chosen versions by name; without a choice the production version of every model of the kind."""
    from medjobs.failing import USAGE, Trouble
    from models.catalogue import UnknownModel, catalogue
    from models.registry import kinds

    names = only or sorted({version.name for version in catalogue().for_kind(kinds()[KIND])})
    try:
        return {name: catalogue().resolve(name) for name in names}
    except UnknownModel as error:
        raise Trouble(str(error), f"Use one of: {', '.join(error.known)}.", USAGE) from None


def _image(header: Header) -> str:
    from imaging.terms import MODALITIES

    # A Modality outside the standard's list could be anything, a name for one.
    sort = header.modality if header.modality in MODALITIES else header.format
    frames = f" x {header.number_of_frames} frames" if header.number_of_frames > 1 else ""
    return f"{sort} {header.columns} x {header.rows}{frames}"


def _reason(error: Exception) -> dict[str, str]:
    from jobs.errors import JobError

    if isinstance(error, JobError):
        return {"code": error.code, "detail": error.detail}
    return {"code": "unreadable", "detail": "The file cannot be read; check its rights."}


def _as_json(one: Checked) -> dict[str, Any]:
    models = {name: {"takes": reason is None, "reason": reason} for name, reason in one.models.items()}
    return {"file": str(one.path), "image": one.image, "error": one.refused, "models": models}


def _print(found: Iterable[Checked], names: list[str]) -> None:
    """A row per file; a reason stands once below the table, by its number."""
    from medjobs import screen

    notes: dict[str, int] = {}
    rows = []
    for one in found:
        reasons = [one.refused] * len(names) if one.refused else [one.models[name] for name in names]
        cells = ["takes it" if reason is None else f"no ({_note(reason, notes)})" for reason in reasons]
        rows.append((one.path.name, one.image, *cells))
    screen.console().print(screen.table(("file", "image", *names), rows))
    for text, number in notes.items():
        screen.entry(f"({number}) ", text)


def _note(reason: Mapping[str, str], notes: dict[str, int]) -> int:
    return notes.setdefault(f"{reason['code']}: {reason['detail']}", len(notes) + 1)
