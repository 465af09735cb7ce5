"""Turns any exception into an error of our own tree, and says where it arose without saying what was in the data."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence

from jobs.errors import DeviceLost, JobError, ModelUnusable, OutOfMemory, StorageUnavailable

log = logging.getLogger("medjobs.workers")

_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "cublas_status_alloc_failed",
    "cublas_status_not_initialized", "cudnn_status_alloc_failed", "unable to find a valid cudnn algorithm",
)  # fmt: skip
"""CUDA's libraries have no word of their own for a workspace or a handle that found no room."""

_FAILED = (
    "illegal memory access", "device-side assert", "illegal instruction", "misaligned address",
    "invalid program counter", "operation not supported on global/shared address space",
    "unspecified launch failure", "launch timed out", "hardware stack error", "uncorrectable ecc error",
    "uncorrectable nvlink error",
)  # fmt: skip
"""After these every later call of the process fails (CUDA Runtime API, the errors at which "the process must be
terminated and relaunched"); after CUDA's other errors the next call may well succeed."""

_ABSENT = (
    "no cuda gpus are available", "no cuda-capable device", "busy or unavailable", "found no nvidia driver",
    "not compiled with cuda", "system not yet initialized", "driver version is insufficient", "driver shutting down",
)  # fmt: skip


def as_job_error(error: BaseException, phase: str) -> JobError:
    """Our errors as they are, but for their frames; memory, device and disk by their own codes; anything else is
    `internal-error`, and logged."""
    if out_of_memory(error):
        return OutOfMemory()
    if device_lost(error):
        log.error("the device failed in %s: %s", phase, where(error))
        return DeviceLost()
    if isinstance(error, JobError):
        return error.kept()
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
        return StorageUnavailable()
    log.error("%s in %s: %s", type(error).__name__, phase, where(error))
    return JobError(phase=phase)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, torch's, or what CUDA's libraries and torch's allocator on the
    processor raise as a RuntimeError, known by its text alone."""
    error = _first(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _said(error, _MEMORY)


def device_lost(error: BaseException) -> bool:
    """Whether the GPU cannot be used by this process any more, or never could."""
    return _said(_first(error), _FAILED) or device_absent(error)


def device_absent(error: BaseException) -> bool:
    """Whether there is no GPU to be used, which is no fault of what was to run on it."""
    return _said(_first(error), _ABSENT)


def _first(error: BaseException) -> BaseException:
    """What made a loader say that a model cannot be used."""
    while isinstance(error, ModelUnusable) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _said(error: BaseException, signs: Sequence[str]) -> bool:
    # torch says by an AssertionError that it was not built for CUDA.
    said = str(error).lower() if isinstance(error, RuntimeError | AssertionError) else ""
    return any(sign in said for sign in signs)


def where(error: BaseException) -> str:
    """The frames of an exception, innermost last: files, lines and functions, no values and no message."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return " > ".join(f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in frames)
