"""Identifiers: time-ordered UUIDs for jobs, content hashes for files."""

from __future__ import annotations

import os
import re
import time
import uuid

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""The id of a file: the SHA-256 of its bytes."""


def new_id() -> str:
    """A UUID version 7 (RFC 9562 section 5.7): its text sorts by the millisecond in which it was made."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
