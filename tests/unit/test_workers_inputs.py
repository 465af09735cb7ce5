"""From the inputs of a job to its items: joined, split, bounded, in order."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.errors import BadAttribute, InputError, JobError
from jobs.kinds import Kind, Params
from jobs.predicting import Source
from storage.files import Storage
from workers.inputs import Inputs, digests

PLAIN = Kind(name="plain", summary="", params=Params, item=Params)
LINES = replace(PLAIN, splitter=f"{__name__}:by_line")
JOINED = replace(PLAIN, joined=True)


def by_line(path: Path) -> Iterator[Source | JobError]:
    """One item a line; a line "BAD" is an error, a file "NOTHING" cannot be split."""
    content = path.read_text()
    if content == "NOTHING":
        raise InputError("This file cannot be split.")
    for line in content.split():
        if line == "STOP":
            raise InputError("The rest cannot be read.")
        yield BadAttribute("A bad line.") if line == "BAD" else Source(data=line)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "files"))


def put(storage: Storage, content: bytes) -> str:
    return storage.put([content], 1 << 20).digest


def zipped(*contents: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(str(number), content)
    return packed.getvalue()


def shown(sources: list[Source | JobError]) -> list[object]:
    """Data, or contents of files, or codes of errors."""
    return [
        one.code if isinstance(one, JobError) else one.data or [path.read_bytes() for path in one.files]
        for one in sources
    ]


def test_all_inputs_of_a_joined_kind_are_one_item_in_their_order(storage: Storage, tmp_path: Path) -> None:
    digests = [put(storage, content) for content in (b"c", b"a", b"b")]
    assert shown(Inputs(storage, tmp_path, JOINED).sources(digests)) == [[b"c", b"a", b"b"]]


def test_a_joined_item_fails_with_the_first_file_that_is_gone(storage: Storage, tmp_path: Path) -> None:
    gone = put(storage, b"gone")
    storage.delete(gone)
    (error,) = Inputs(storage, tmp_path, JOINED).sources([put(storage, b"a"), gone])
    assert isinstance(error, JobError)
    assert (error.code, error.facts["file"]) == ("file-gone", gone)


def test_a_file_of_many_items_is_split_and_its_bad_items_keep_their_places(storage: Storage, tmp_path: Path) -> None:
    inputs = [put(storage, b"1 BAD 2"), {"data": "inline"}, put(storage, b"3")]
    found = Inputs(storage, tmp_path, LINES).sources(inputs)
    assert shown(found) == ["1", "bad-attribute", "2", "inline", "3"]


def test_a_file_that_cannot_be_split_is_one_error_among_its_neighbours(storage: Storage, tmp_path: Path) -> None:
    inputs = [put(storage, b"1"), put(storage, b"NOTHING"), put(storage, b"2 STOP 3"), put(storage, b"4")]
    assert shown(Inputs(storage, tmp_path, LINES).sources(inputs)) == ["1", "bad-input", "2", "bad-input", "4"]


def test_the_error_of_a_file_holds_nothing_of_its_reading(storage: Storage, tmp_path: Path) -> None:
    inputs = [put(storage, b"NOTHING"), {"archive": put(storage, zipped(b"NOTHING"))}]
    first, second = Inputs(storage, tmp_path, LINES).sources(inputs)
    assert isinstance(first, InputError)
    assert isinstance(second, InputError)
    assert first.__traceback__ is second.__traceback__ is None


def test_members_of_an_archive_are_split_too(storage: Storage, tmp_path: Path) -> None:
    inputs = [{"archive": put(storage, zipped(b"1 2", b"NOTHING", b"3"))}]
    assert shown(Inputs(storage, tmp_path, LINES).sources(inputs)) == ["1", "2", "bad-input", "3"]


def test_more_items_than_the_kind_takes_are_not_even_read(storage: Storage, tmp_path: Path) -> None:
    """Given room for three, when a file of ten comes, then three items and one error stand in the result."""
    inputs = [put(storage, b"1 2 3 4 5 6 7 8 9 10"), put(storage, b"11")]
    found = Inputs(storage, tmp_path, replace(LINES, max_inputs=3)).sources(inputs)
    assert shown(found) == ["1", "2", "3", "limit-exceeded"]


def test_a_joined_item_of_too_many_files_is_refused(storage: Storage, tmp_path: Path) -> None:
    inputs = [{"archive": put(storage, zipped(b"1", b"2", b"3", b"4"))}]
    assert shown(Inputs(storage, tmp_path, replace(JOINED, max_inputs=3)).sources(inputs)) == ["limit-exceeded"]


def test_the_hash_of_inline_data_does_not_hang_on_the_order_of_its_names() -> None:
    text = b'{"a":1,"b":[2,"\\u00e9"]}'
    expected = {"data": f"sha256:{hashlib.sha256(text).hexdigest()}"}
    assert digests([{"data": {"b": [2, "é"], "a": 1}}, "sha256:00"]) == [expected, "sha256:00"]
