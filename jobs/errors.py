"""One error tree: an error is permanent or retryable, and has a code from a closed list.

The docstring of a class is its default message and says the remedy. No message ever repeats patient data: a value
from a file is named only where the standard closes the list of values it can have (Modality, for one).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self


class JobError(Exception):
    """The job failed for a reason that has no code of its own; see the worker's log under the job's id."""

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str | None = None, **facts: Any) -> None:
        """`detail` replaces the default message; `facts` are JSON-ready particulars such as the tag concerned."""
        self.detail = detail or " ".join((type(self).__doc__ or "").split())
        self.facts = facts
        super().__init__(self.detail)

    def as_dict(self, item: int | None = None) -> dict[str, Any]:
        """The `error` object of http-api.md; `item` is the position of the input that it is about."""
        shape = {"code": self.code, "title": self.title, "detail": self.detail, "retryable": self.retryable}
        return {**shape, "item": item, **self.facts}

    def kept(self) -> Self:
        """This error, to be kept as a value: without its traceback and those of its causes.

        Their frames hold what was being worked on, and often, in a circle, whatever the error is put into: images or
        molecules that stay in memory until Python's collector runs, and it runs late, for it sees neither's size.
        """
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class PermanentError(JobError):
    """Running the same job again would fail the same way."""


class RetryableError(JobError):
    """The job could not run now and is tried again by itself."""

    code = "temporary-failure"
    title = "Temporary failure"
    retryable = True


# -- what is wrong with an input: these fail one item and leave its neighbours alone ------------------------------


class InputError(PermanentError):
    """This input cannot be used; look at the file and send it again."""

    code = "bad-input"
    title = "Bad input"


class EmptyInput(InputError):
    """The file has no bytes; send it again."""

    code = "empty-input"
    title = "Empty file"


class NotAnImage(InputError):
    """The file is neither DICOM nor PNG; export the image as DICOM and send it again."""

    code = "not-an-image"
    title = "Neither DICOM nor PNG"


class NotAMolecule(InputError):
    """RDKit cannot read this as a molecule; check valences, brackets and ring closures, and send it again."""

    code = "not-a-molecule"
    title = "Not a molecule"


class TruncatedInput(InputError):
    """The file ends before its data does; copy it again from its source and compare the sizes."""

    code = "truncated-input"
    title = "Truncated file"


class BrokenHeader(InputError):
    """The DICOM header cannot be parsed; run a DICOM validator such as dciodvfy over the file."""

    code = "broken-header"
    title = "Broken DICOM header"


class NoPixelData(InputError):
    """The DICOM object has no image pixels (PS3.3 C.7.6.3); send an image, not a report, plan or waveform."""

    code = "no-pixel-data"
    title = "No pixel data"


class BadAttribute(InputError):
    """A DICOM attribute that the pixels need is missing or has an impossible value."""

    code = "bad-attribute"
    title = "Bad DICOM attribute"


class UnsupportedTransferSyntax(InputError):
    """No decoder for this transfer syntax; convert the file, for example with `gdcmconv --raw in.dcm out.dcm`."""

    code = "unsupported-transfer-syntax"
    title = "Unsupported transfer syntax"


class DecodeFailed(InputError):
    """The pixel data cannot be decoded; convert the file with another program and send it again."""

    code = "decode-failed"
    title = "Pixel data cannot be decoded"


class LimitExceeded(InputError):
    """The input is larger or deeper than this installation accepts."""

    code = "limit-exceeded"
    title = "Over a limit"


class ContractMismatch(InputError):
    """The image is not of the sort that this model was trained on."""

    code = "input-contract"
    title = "Outside the model's input contract"


class BadArchive(InputError):
    """The archive is not a readable zip of images."""

    code = "bad-archive"
    title = "Bad archive"


class BadSeries(InputError):
    """The instances do not form one series (PS3.3 C.7.3): one SeriesInstanceUID and one frame of reference."""

    code = "bad-series"
    title = "Not one series"


class FileGone(InputError):
    """The bytes of this input were deleted; upload the file again."""

    code = "file-gone"
    title = "Input deleted"


class DatasetInvalid(InputError):
    """The files are no usable data set; `problems` lists by file, row and column what is to be mended."""

    code = "dataset-invalid"
    title = "Not a usable data set"


class BudgetTooSmall(InputError):
    """The minutes do not suffice for an epoch of every network; `least_minutes` says what would."""

    code = "budget-too-small"
    title = "Time budget too small"


# -- what ends a whole job -----------------------------------------------------------------------------------------


class AllItemsFailed(PermanentError):
    """No input gave a result; each item carries its own error."""

    code = "all-items-failed"
    title = "No item succeeded"


class ModelUnusable(PermanentError):
    """The pinned model version cannot be loaded: its weights are missing or their checksum differs."""

    code = "model-unusable"
    title = "Model cannot be loaded"


class ModelTooLarge(PermanentError):
    """The model needs more memory than the device has for models; start a worker on a larger one."""

    code = "model-too-large"
    title = "Model too large"


class NameTaken(PermanentError):
    """The name of the new model went to somebody else, or to a model of another kind; train under another name."""

    code = "name-taken"
    title = "Name is taken"


class OtherRelease(PermanentError):
    """The job has settings that this release does not know; run it with the release that its provenance names."""

    code = "other-release"
    title = "Made by another release"


class ExportRefused(PermanentError):
    """The generator did not pass its gate of quality and privacy, so nothing that it draws leaves the system."""

    code = "export-refused"
    title = "Export refused"


class JobTimeout(PermanentError):
    """The job ran longer than its `timeout_s`; raise it or send fewer inputs per job."""

    code = "timeout"
    title = "Timed out"


class WorkerCrashed(PermanentError):
    """The job was running in three worker processes that died; an input probably kills the process."""

    code = "worker-crashed"
    title = "Worker crashed"


class AttemptsExhausted(PermanentError):
    """The job met temporary failures more often than it may be tried; the last one is named in its attempts."""

    code = "attempts-exhausted"
    title = "Too many attempts"


class StorageUnavailable(RetryableError):
    """The file storage cannot be reached or is full; check the disk or the bucket with `medjobs doctor`."""

    code = "storage-unavailable"
    title = "Storage unavailable"


class DatabaseUnavailable(RetryableError):
    """The database cannot be reached; check it with `medjobs doctor`."""

    code = "database-unavailable"
    title = "Database unavailable"


class OutOfMemory(RetryableError):
    """The device ran out of memory, even for one item alone; the job is tried again later."""

    code = "out-of-memory"
    title = "Out of memory"


class DeviceLost(RetryableError):
    """The device failed, or is not there; the job is tried again, and the worker's process is started anew."""

    code = "device-lost"
    title = "Device lost"


def every_error() -> Iterator[type[JobError]]:
    """Each class of the tree, parents first."""
    waiting: list[type[JobError]] = [JobError]
    while waiting:
        error = waiting.pop(0)
        yield error
        waiting.extend(error.__subclasses__())


def codes() -> dict[str, type[JobError]]:
    """The closed list: code -> the class that introduces it."""
    found: dict[str, type[JobError]] = {}
    for error in every_error():
        found.setdefault(error.code, error)
    return found
