"""What an exception of a model becomes: an error of our own tree, which holds nothing of what was being worked on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from jobs.errors import DeviceLost, JobError, ModelUnusable, NotAnImage, OutOfMemory
from workers.blame import as_job_error, out_of_memory


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


def loading(error: Exception) -> Exception:
    """As a loader says it of weights that it could not put on the device."""
    try:
        try:
            raise error
        except RuntimeError as cause:
            raise ModelUnusable("The weights do not fit the manifest; install the model again.") from cause
    except ModelUnusable as refused:
        return refused


def test_memory_that_ran_out_while_weights_were_loaded_is_no_fault_of_the_weights() -> None:
    refused = loading(torch.OutOfMemoryError("CUDA out of memory."))
    assert out_of_memory(refused)
    assert isinstance(as_job_error(refused, "load"), OutOfMemory)
    mismatch = as_job_error(loading(RuntimeError("Error(s) in loading state_dict: size mismatch")), "load")
    assert mismatch.code == "model-unusable"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (AssertionError("Torch not compiled with CUDA enabled"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx`"), False),
        (torch.AcceleratorError("CUDA error: invalid configuration argument"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("No CUDA GPUs are available"), True),
        (loading(RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")), True),
        (RuntimeError("CUDA error: out of memory"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error: in a file's text"), False),
    ],
)
def test_a_device_that_failed_is_told_from_other_errors_and_the_job_is_tried_again(
    error: Exception, lost: bool
) -> None:
    coded = as_job_error(error, "predict")
    assert isinstance(coded, DeviceLost) is lost
    assert not lost or coded.retryable
