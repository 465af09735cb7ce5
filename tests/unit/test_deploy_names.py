"""The name server of `make image-check`, asked by hand."""

from __future__ import annotations

import struct

from deploy.check.names import answer

NAMES = {"keeper": ["10.97.0.2", "10.97.0.3"]}


def asked(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\0" + struct.pack("!HH", kind, 1)


def test_a_name_has_every_address_of_its_service() -> None:
    reply = answer(asked("Keeper"), NAMES)
    assert reply[:2] == b"\x12\x34"
    assert reply[3] & 15 == 0
    assert struct.unpack_from("!H", reply, 6) == (2,)
    assert reply.endswith(bytes([10, 97, 0, 3]))
    assert bytes([10, 97, 0, 2]) in reply


def test_a_name_without_such_a_record_is_known_and_another_is_not() -> None:
    known, unknown = answer(asked("keeper", 28), NAMES), answer(asked("nobody.example"), NAMES)
    assert (known[3] & 15, unknown[3] & 15) == (0, 3)
    assert struct.unpack_from("!H", known, 6) == struct.unpack_from("!H", unknown, 6) == (0,)
