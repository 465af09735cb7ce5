"""Zip files: members one by one, and nothing that endangers the process."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from imaging.archive import count_members, is_zip, members
from imaging.limits import Limits
from jobs.errors import InputError


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out


def refusal(source: io.BytesIO, limits: Limits) -> InputError:
    with pytest.raises(InputError) as caught:
        list(members(source, limits))
    return caught.value


def test_files_come_in_order_without_folders_and_litter() -> None:
    source = packed({"a/": b"", "a/2.dcm": b"two", "__MACOSX/a": b"x", "a/.DS_Store": b"x", "../../1.dcm": b"one"})
    assert [(member.position, member.data) for member in members(source)] == [(0, b"two"), (1, b"one")]
    assert count_members(source) == 2
    assert is_zip(source.getvalue())


def test_a_damaged_member_leaves_its_neighbours_alone() -> None:
    source = packed({"DOE^JOHN.dcm": b"A" * 500, "b": b"B" * 500}, zipfile.ZIP_STORED)
    broken = io.BytesIO(source.getvalue().replace(b"AAAA", b"AxAA", 1))
    first, second = members(broken)
    assert first.data is None
    assert first.error is not None
    assert first.error.code == "bad-archive"
    assert "DOE" not in repr(first)
    assert second.data == b"B" * 500


def test_an_encrypted_member_says_so() -> None:
    data = bytearray(packed({"a": b"A"}).getvalue())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(signature)
        data[start + at] |= 1
    (member,) = members(io.BytesIO(bytes(data)))
    assert member.error is not None
    assert "encrypted" in member.error.detail


def test_other_methods_are_not_unpacked() -> None:
    (member,) = members(packed({"a": b"A" * 100}, zipfile.ZIP_LZMA))
    assert member.error is not None
    assert "deflate" in member.error.detail


def test_a_bomb_is_stopped_by_what_comes_out() -> None:
    source = packed({"bomb": b"\0" * (20 << 20), "good": b"fine"})
    bomb, good = members(source, Limits(max_archive_ratio=100))
    assert bomb.error is not None
    assert bomb.error.facts["limit"] == "max_archive_ratio"
    assert good.data == b"fine"
    bomb, good = members(source, Limits(max_bytes=1 << 20))
    assert bomb.error is not None
    assert bomb.error.facts["limit"] == "max_bytes"


def test_the_sum_is_limited() -> None:
    source = packed({str(i): bytes([i]) * 1000 for i in range(10)})
    assert refusal(source, Limits(max_archive_bytes=5500)).facts["limit"] == "max_archive_bytes"


def test_the_number_of_files_is_limited() -> None:
    source = packed({str(i): b"" for i in range(10)})
    assert refusal(source, Limits(max_archive_members=9)).facts["limit"] == "max_archive_members"


def test_a_lie_about_the_size_does_not_help() -> None:
    """The directory claims 10 bytes; zipfile reads no further, and the checksum then tells."""
    data = bytearray(packed({"a": b"A" * 100_000}).getvalue())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.find(signature)
        data[start + at : start + at + 4] = struct.pack("<L", 10)
    (member,) = members(io.BytesIO(bytes(data)), Limits(max_bytes=50))
    assert member.data is None or len(member.data) <= 50


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not a zip", b"\0" * 100])
def test_what_is_no_zip(data: bytes) -> None:
    assert refusal(io.BytesIO(data), Limits()).code == "bad-archive"
