"""Lookup tables: modality LUT and VOI LUT (PS3.3 C.11.1.1.1 and C.11.2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from imaging.attributes import array, bad, raw


@dataclass(frozen=True, eq=False)
class Lut:
    """A table from whole numbers to whole numbers; beyond its ends its first and last entries hold."""

    first: int
    """The input that maps to the first entry."""

    bits: int
    """Bits of an entry; the output range is 0 to 2^bits - 1."""

    entries: NDArray[np.float32]

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The entry for each value; fractions are rounded."""
        index = np.rint(values) if values.dtype.kind == "f" else values
        index = np.clip(index.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        found: NDArray[np.float32] = self.entries[index]
        return found


def read_lut(item: Dataset, signed: bool) -> Lut:
    """LUTDescriptor and LUTData of a LUT sequence item; `signed` says how the first mapped value is meant."""
    count, first, bits = descriptor(item, "LUTDescriptor", signed)
    return Lut(first, bits, table(item, "LUTData", count))


def descriptor(item: Dataset, keyword: str, signed: bool) -> tuple[int, int, int]:
    """(entries, first mapped value, bits): three numbers, of which only the second can be signed."""
    found = array(item, keyword)
    if found is None or len(found) != 3:
        raise bad(keyword, "does not have its three values")
    count, first, bits = (int(value) & 0xFFFF for value in found.tolist())
    if not 8 <= bits <= 16:
        raise bad(keyword, "states entries of other than 8 to 16 bits")
    # 0 stands for 65536, which does not fit into 16 bits.
    return count or 65536, first - 65536 if signed and first > 32767 else first, bits


def table(item: Dataset, keyword: str, count: int) -> NDArray[np.float32]:
    """The `count` entries of a table, of 16 bits each or packed into bytes."""
    found = raw(item, keyword)
    if found is None or not isinstance(found[2], bytes):
        raise bad(keyword, "is missing")
    little, data = found[1], found[2]
    if len(data) >= 2 * count:
        return np.frombuffer(data, "<u2" if little else ">u2", count).astype(np.float32)
    if len(data) >= count:
        return np.frombuffer(data, np.uint8, count).astype(np.float32)
    raise bad(keyword, "has fewer entries than its descriptor says")
