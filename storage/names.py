"""Where things lie in the storage, and which names may be part of a path."""

from __future__ import annotations

import re

from jobs.ids import DIGEST
from storage.errors import BadName

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+ -]{0,199}", re.ASCII)
"""One step of a path: no separator, no leading dot (so no `.` or `..`), nothing that a shell or URL takes amiss."""

DEPTH = 6
"""Most steps in an artifact's name."""

BLOBS = "blobs"
JOBS = "jobs"
CHECKPOINTS = "checkpoints"


def blob(digest: str) -> str:
    """`blobs/ab/cdef...` for "sha256:abcdef..."; two letters, so that no folder grows beyond 1/256 of the files."""
    if not DIGEST.fullmatch(digest):
        raise BadName("A file id is 'sha256:' and 64 lower-case hex digits.")
    value = digest.removeprefix("sha256:")
    return f"{BLOBS}/{value[:2]}/{value[2:]}"


def is_blob(path: str) -> bool:
    """Whether `blob` gives such a path for some bytes."""
    parts = path.split("/")
    return len(parts) == 3 and parts[0] == BLOBS and DIGEST.fullmatch(f"sha256:{parts[1]}{parts[2]}") is not None


def job(job_id: str) -> str:
    """`jobs/<job>`."""
    return f"{JOBS}/{_part(job_id)}"


def attempt(job_id: str, fence: int) -> str:
    """`jobs/<job>/<fence>`."""
    if fence < 1:
        raise BadName("A fence under which files are written is at least 1.")
    return f"{job(job_id)}/{int(fence)}"


def checkpoints(job_id: str, fence: int) -> str:
    """`jobs/<job>/<fence>/checkpoints`."""
    return f"{attempt(job_id, fence)}/{CHECKPOINTS}"


def artifact(job_id: str, fence: int, name: str) -> str:
    """`jobs/<job>/<fence>/<name>`; a name may have a few steps, such as `items/3/overlay.png`."""
    parts = name.split("/")
    if len(parts) > DEPTH:
        raise BadName(f"An artifact's name has at most {DEPTH} steps.")
    return "/".join([attempt(job_id, fence), *map(_part, parts)])


def _part(text: str) -> str:
    if not _PART.fullmatch(text) or text.endswith((" ", ".")):
        raise BadName("Names in the storage are letters, digits and . _ + - within, up to 200 characters.")
    return text
