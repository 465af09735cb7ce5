"""A planted name must not leave the file: not in errors, warnings, logs or on the console."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imaging.header import read_header
from imaging.reading import read_image
from jobs.errors import InputError
from tests.imaging_files import dicom

MARK = b"ZZPLANTEDZZ"


def planted(**attributes: object) -> bytes:
    """A file with the mark in its texts, in a UID, in a code string, in numbers, in the character set."""
    source = dicom(
        np.arange(16, dtype=np.uint8).reshape(4, 4),
        PatientName="N" * 11,
        PatientID="N" * 11,
        StudyDate="20200101",
        SeriesInstanceUID="1.2.3.44444",
        Manufacturer="N" * 11,
        **attributes,
    )
    for old in (b"N" * 11, b"1.2.3.44444", b"12345678901"):
        assert old in source or old == b"12345678901"
        source = source.replace(old, MARK)
    return source


BROKEN = {
    "rescale": planted(RescaleIntercept="12345678901"),
    "window": planted(WindowCenter="12345678901", WindowWidth="5"),
    "charset": planted().replace(b"OT", b"ZZ"),
    "truncated": planted()[:-10],
    "position": planted(ImagePositionPatient=["12345678901", "0", "0"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_mark_appears_nowhere(
    name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for read in (read_image, read_header):
            try:
                read(BROKEN[name])
            except InputError as error:
                said += [str(error), json.dumps(error.as_dict()), "".join(traceback.format_exception(error))]
    said += [str(warning.message) for warning in caught] + [caplog.text, *capfd.readouterr()]
    assert MARK.decode() not in " ".join(said)


def test_the_identifiers_of_a_header_are_identifiers() -> None:
    """A name in the place of a UID or a code is dropped, not handed on."""
    assert read_header(planted()).series_instance_uid == ""
    assert MARK.decode() not in repr(read_header(planted()))


def test_many_threads_are_as_silent_as_one() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(_answer, list(BROKEN.values()) * 40))
    assert caught == []


def _answer(source: bytes) -> str:
    try:
        read_image(source)
    except InputError as error:
        return error.code
    return "ok"


def test_pydicom_by_itself_would_tell(tmp_path: Path) -> None:
    """The reason for imaging.quiet: should pydicom fall silent by itself one day, it can go."""
    path = tmp_path / "planted.dcm"
    path.write_bytes(planted())
    code = "import pydicom, sys; print(pydicom.dcmread(sys.argv[1]).SeriesInstanceUID is None)"
    loud = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert MARK.decode() in loud.stderr
    hushed = subprocess.run(
        [sys.executable, "-c", "import imaging.parsing; " + code, str(path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert MARK.decode() not in hushed.stderr
