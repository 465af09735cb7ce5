"""What an exception of a model becomes: an error of our own tree, which holds nothing of what was being worked on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from jobs.errors import JobError, NotAnImage
from workers.blame import as_job_error


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def settled(seen: list[weakref.ref[np.ndarray]]) -> list[JobError]:
    """As the line does it: the failed item's error is kept in a list that the frame of its decoding knows."""
    items: list[JobError] = []
    try:
        decode(seen)
    except Exception as error:
        items.append(as_job_error(error, "decode"))
    return items


def decode(seen: list[weakref.ref[np.ndarray]]) -> None:
    pixels = np.zeros((1000, 1000))
    seen.append(weakref.ref(pixels))
    try:
        raise ValueError("as a library says it")
    except ValueError:
        raise NotAnImage() from None


@pytest.mark.usefixtures("no_collector")
def test_a_failed_item_keeps_no_pixels_in_memory() -> None:
    seen: list[weakref.ref[np.ndarray]] = []
    (error,) = settled(seen)
    assert error.code == "not-an-image"
    assert seen[0]() is None
