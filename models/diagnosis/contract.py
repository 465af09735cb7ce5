"""What a model takes: its input contract, held against an image's header. Imports no torch.

A mismatch is refused by name and never silently fed. Values are printed only where the standard closes the list of
values that they can have; a stranger's free text is not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imaging.header import Header
from imaging.terms import MODALITIES, PHOTOMETRIC
from jobs.errors import ContractMismatch

MODALITY = "(0008,0060) Modality"
PHOTOMETRIC_INTERPRETATION = "(0028,0004) PhotometricInterpretation"
ROWS, COLUMNS, FRAMES = "(0028,0010) Rows", "(0028,0011) Columns", "(0028,0008) NumberOfFrames"

UNSTATED_NOTE = "The model's training data stated no modality, so it was not checked what sort of image this is."
PNG_NOTE = "A PNG file states no modality, so it was not checked what sort of image this is."

Mismatch = tuple[str, str, str]
"""The tag, the value seen (or that it is not a defined term), and the values accepted."""


def mismatch(header: Header, contract: Mapping[str, Any]) -> Mismatch | None:
    """Return the first way in which an image breaks a contract, or None where it keeps it.

    `contract` has `modality` (empty: any), `photometric_interpretation` (lists), `png` (whether PNG files, which
    have no modality, are taken), `min_rows`, `min_columns` and `max_frames`.
    """
    if header.format == "PNG":
        if not contract["png"]:
            return "file format", "PNG", "DICOM"
    elif contract["modality"] and header.modality not in contract["modality"]:
        return MODALITY, _term(header.modality, MODALITIES), ", ".join(contract["modality"])
    photometric = header.photometric_interpretation
    if photometric not in contract["photometric_interpretation"]:
        accepted = ", ".join(contract["photometric_interpretation"])
        return PHOTOMETRIC_INTERPRETATION, _term(photometric, PHOTOMETRIC), accepted
    if header.rows < contract["min_rows"]:
        return ROWS, str(header.rows), f"{contract['min_rows']} or more"
    if header.columns < contract["min_columns"]:
        return COLUMNS, str(header.columns), f"{contract['min_columns']} or more"
    if header.number_of_frames > contract["max_frames"]:
        return FRAMES, str(header.number_of_frames), f"1 to {contract['max_frames']}"
    return None


def check(header: Header, contract: Mapping[str, Any]) -> tuple[str, ...]:
    """Return notes on what the contract could not check; raise `ContractMismatch` where the image breaks it.

    The error names the tag, the value seen, the values accepted, and the models that would take the image.
    """
    found = mismatch(header, contract)
    if found is None and header.format == "DICOM":
        return () if contract["modality"] else (UNSTATED_NOTE,)
    if found is None:
        return (PNG_NOTE,)
    tag, seen, accepted = found
    takers = takers_of(header)
    remedy = f"Send it to {' or '.join(takers)}." if takers else "No model of this installation takes it."
    raise ContractMismatch(
        f"{tag} is {seen}; this model accepts {accepted}. {remedy}",
        tag=tag,
        seen=seen,
        accepted=accepted,
        models=takers,
    )


def takers_of(header: Header) -> list[str]:
    """Return the names of the diagnosis models whose production version takes such an image."""
    # Imported here: the catalogue imports the registry, which imports every kind's schema.
    from models.catalogue import DEFAULT_ALIAS, catalogue

    known = catalogue()
    versions = [known.resolve(name) for name in known.versions if DEFAULT_ALIAS in known.aliases[name]]
    diagnosis = [version for version in versions if version.kind == "diagnosis"]
    return sorted(version.name for version in diagnosis if mismatch(header, version.manifest["contract"]) is None)


def _term(value: str, terms: frozenset[str] | tuple[str, ...]) -> str:
    """Return a value for printing, if it is one of the standard's own."""
    if not value:
        return "empty"
    return value if value in terms else "not a defined term"
