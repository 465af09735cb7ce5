"""Files of an own model looked at from outside: their form is checked, their content is run by no API process.

safetensors: https://github.com/huggingface/safetensors#format. An exported program (.pt2) is a zip.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

LONGEST_HEADER = 10_000_000
"""Bytes; the format allows ten times that, networks of thousands of tensors need a twentieth."""

BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Of one element, by the format's names of types."""


class NotWeights(ValueError):
    """The file is not what its name says; the text says why and what to do, and quotes nothing of the file."""


def check(name: str, path: Path) -> None:
    """Raise `NotWeights` where the file at `path` cannot be what `name` says."""
    if name == "weights.safetensors":
        _check_safetensors(path)
    elif not zipfile.is_zipfile(path):
        made = "torch.export.save" if name.endswith(".pt2") else "numpy.savez"
        raise NotWeights(f"This is no zip, so no {name}; write it with {made}.")


def _check_safetensors(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or not 2 <= length <= min(LONGEST_HEADER, size - 8):
            raise NotWeights("This is no safetensors file; write it with safetensors.torch.save_file.")
        raw = stream.read(length)
    try:
        header = json.loads(raw)
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        ends = sorted(_span(entry) for entry in tensors.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise NotWeights("The header of this safetensors file cannot be read; write the file anew.") from None
    if not ends or [start for start, _ in ends] != [0, *(end for _, end in ends[:-1])]:
        raise NotWeights("The tensors of this safetensors file overlap or leave gaps; write the file anew.")
    if ends[-1][1] != size - 8 - length:
        raise NotWeights("This safetensors file is cut short or has bytes after its tensors; send it again.")


def _span(entry: Any) -> tuple[int, int]:
    """Where a tensor's bytes begin and end; raises where they are not as many as its shape and type say."""
    start, end = entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (start, end, *entry["shape"])):
        raise ValueError
    if end - start != math.prod(entry["shape"]) * BYTES[entry["dtype"]]:
        raise ValueError
    return start, end
