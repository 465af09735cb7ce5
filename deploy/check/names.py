"""A name server for the services, as Docker's own is: A records with every address of a service, and nothing else."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping, Sequence

A = 1
"""The type of a record that holds an IPv4 address (RFC 1035)."""


def serve(address: str, names: Mapping[str, Sequence[str]]) -> None:
    """Answer on `address`, port 53, in a thread that ends with the process."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, 53))

    def loop() -> None:
        while True:
            question, sender = listener.recvfrom(4096)
            listener.sendto(answer(question, names), sender)

    threading.Thread(target=loop, daemon=True).start()


def answer(question: bytes, names: Mapping[str, Sequence[str]]) -> bytes:
    """The reply to one question: addresses, nothing (known, another type), or NXDOMAIN."""
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", question, at + 1)
    found = names.get(".".join(labels))
    addresses = list(found or ()) if kind == A else []
    flags = 0x8180 | (0 if found is not None else 3)  # a recursive answer without error; 3: no such name
    head = question[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0)
    records = [b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 5, 4) + socket.inet_aton(one) for one in addresses]
    return head + question[12 : at + 5] + b"".join(records)
