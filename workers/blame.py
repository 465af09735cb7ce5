"""Turns any exception into an error of our own tree, and says where it arose without saying what was in the data."""

from __future__ import annotations

import logging
import traceback

from jobs.errors import JobError, OutOfMemory, StorageUnavailable

log = logging.getLogger("medjobs.workers")

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "cublas_status_alloc_failed")


def as_job_error(error: BaseException, phase: str) -> JobError:
    """Our errors as they are, but for their frames; memory and disk by their own codes; anything else is
    `internal-error`, and logged."""
    if isinstance(error, JobError):
        return error.kept()
    if out_of_memory(error):
        return OutOfMemory()
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
        return StorageUnavailable()
    log.error("%s in %s: %s", type(error).__name__, phase, where(error))
    return JobError(phase=phase)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, torch's, or what CUDA's libraries and torch's allocator on the
    processor raise as a RuntimeError, known by its text alone."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower() if isinstance(error, RuntimeError) else ""
    return any(sign in said for sign in _SIGNS)


def where(error: BaseException) -> str:
    """The frames of an exception, innermost last: files, lines and functions, no values and no message."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return " > ".join(f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in frames)
