"""Attributes of a parsed data set as checked Python values, straight from the raw bytes.

pydicom's own conversion is lenient, slow and warns with the value; the few attributes that pixels need have simple
encodings (PS3.5 section 6.2), so they are read here, and whatever is wrong becomes a `BadAttribute` naming the tag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from jobs.errors import BadAttribute, BrokenHeader

_BINARY = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8", "OW": "u2", "OB": "u1"}


@lru_cache(maxsize=512)
def tag_number(keyword: str) -> BaseTag:
    """The tag of a DICOM keyword as one integer, (gggg,eeee) -> 0xggggeeee."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return BaseTag(tag)


def tag_name(keyword: str) -> str:
    """The tag as errors print it: "(0028,0010) Rows"."""
    number = tag_number(keyword)
    return f"({number >> 16:04X},{number & 0xFFFF:04X}) {keyword}"


def bad(keyword: str, problem: str, **facts: object) -> BadAttribute:
    """The error that names `keyword` and the problem, never the value."""
    return BadAttribute(f"{tag_name(keyword)} {problem}.", tag=tag_name(keyword), **facts)


@lru_cache(maxsize=512)
def _usual_vr(keyword: str) -> str:
    """The VR of the data dictionary; of "US or SS" the first, because the sign only matters where it is written."""
    return dictionary_VR(tag_number(keyword)).split(" or ")[0]


def has(dataset: Dataset, keyword: str) -> bool:
    """Whether the element is there at all, empty or not."""
    return _element(dataset, tag_number(keyword)) is not None


def _element(dataset: Dataset, tag: BaseTag) -> Any:
    """The raw element. pydicom's public look-ups build a tag object each time, which took a third of all reading."""
    return dataset._dict.get(tag)


def raw(dataset: Dataset, keyword: str) -> tuple[str, bool, object] | None:
    """(VR, little endian, undecoded value) of an element, or None where it is absent or empty."""
    element = _element(dataset, tag_number(keyword))
    if element is None:
        return None
    value = element.value
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return None
    vr = element.VR
    return (
        vr if vr and vr != "UN" else _usual_vr(keyword),
        bool(getattr(element, "is_little_endian", True)),
        value,
    )


def array(dataset: Dataset, keyword: str) -> NDArray[np.generic] | None:
    """The numbers of a binary element (US, SS, UL, SL, FL, FD, OB, OW), or None where it is absent or empty."""
    found = raw(dataset, keyword)
    if found is None:
        return None
    vr, little, value = found
    kind = _BINARY.get(vr)
    if kind is None or not isinstance(value, bytes):
        raise bad(keyword, f"has a VR that it cannot have (expected {_usual_vr(keyword)})")
    dtype = np.dtype(kind).newbyteorder("<" if little else ">")
    return np.frombuffer(value[: len(value) // dtype.itemsize * dtype.itemsize], dtype)


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of a text element of the default character repertoire (CS, UI, IS, DS), padding removed."""
    found = raw(dataset, keyword)
    if found is None:
        return ()
    value = found[2]
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        value = "\\".join(str(part) for part in value) if isinstance(value, Sequence) else str(value)
    return tuple(part.strip(" \0") for part in value.split("\\"))


def text(dataset: Dataset, keyword: str) -> str:
    """The first value of a text element, or an empty string."""
    values = texts(dataset, keyword)
    return values[0] if values else ""


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of a numeric element, text (DS, IS) or binary; every one of them finite."""
    found = raw(dataset, keyword)
    if found is None:
        return ()
    if found[0] in _BINARY and isinstance(found[2], bytes):
        values = _floats(dataset, keyword)
    else:
        values = _parsed(dataset, keyword)
    if not all(map(math.isfinite, values)):
        raise bad(keyword, "is not a finite number")
    return values


def _floats(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    found = array(dataset, keyword)
    return () if found is None else tuple(float(value) for value in found.tolist())


def _parsed(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in texts(dataset, keyword) if part)
    except ValueError:
        raise bad(keyword, "is not a number") from None


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first value of a numeric element, or None where it is absent or empty."""
    values = numbers(dataset, keyword)
    return values[0] if values else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """The only value of an integer element (US, IS), or None where it is absent or empty."""
    values = numbers(dataset, keyword)
    if not values:
        return None
    if len(values) != 1 or values[0] != int(values[0]):
        raise bad(keyword, "is not one whole number")
    return int(values[0])


def required(dataset: Dataset, keyword: str) -> int:
    """The value of an integer element without which the pixels cannot be read."""
    value = integer(dataset, keyword)
    if value is None:
        raise bad(keyword, "is missing or empty, and the pixels cannot be read without it")
    return value


def items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence; none where it is absent or empty."""
    tag = tag_number(keyword)
    if _element(dataset, tag) is None:
        return ()
    try:
        value = dataset[tag].value
    except RecursionError:
        raise
    except Exception:
        raise BrokenHeader(f"{tag_name(keyword)} cannot be parsed as a sequence.", tag=tag_name(keyword)) from None
    if value is None:
        return ()
    if isinstance(value, bytes | str) or not isinstance(value, Sequence):
        raise bad(keyword, "is not a sequence")
    return value
