"""Turning the operating system's and fsspec's errors into one that says which disk or bucket, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.errors import StorageUnavailable
from storage.advice import advice

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def named(place: str) -> Iterator[None]:
    """Raise `StorageUnavailable` naming `place` for whatever input or output error happens inside.

    FileNotFoundError passes: that a thing is not there is an answer, not a failure.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageUnavailable(advice(error, place) or _detail(error, place)) from error
    except Exception as error:
        # botocore's and others' errors share no base class with OSError; what we raise ourselves passes.
        if type(error).__module__.split(".")[0] in {"botocore", "aiobotocore", "aiohttp", "fsspec", "s3fs", "gcsfs"}:
            detail = advice(error, place) or f"The storage at {place} failed ({type(error).__name__})."
            raise StorageUnavailable(detail) from error
        raise


def _detail(error: OSError, place: str) -> str:
    if error.errno in _FULL:
        return (
            f"The disk under {place} is full; free space there or move MEDJOBS_STORAGE_URL, then all goes on by itself."
        )
    reason = error.strerror or type(error).__name__
    return f"The storage at {place} cannot be used ({reason}); check the folder or bucket with `medjobs doctor`."
