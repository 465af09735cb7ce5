"""One HTTPS call to an address that was checked: no redirect, no second resolution, no private network."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from jobs.allowance import Address, Allowance

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
MOST_ADDRESSES = 3


class Refused(Exception):
    """The target may not be called; the text says why, without the URL."""


@dataclass(frozen=True)
class Target:
    """Where a call goes: the checked address, and the name that its certificate must have."""

    host: str
    address: str
    port: int
    path: str
    tls: bool


def resolve(url: str, allowance: Allowance) -> Target:
    """Resolve the host once and check what came out; raises `Refused`, or OSError where it does not resolve."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or parts.username is not None:
        raise Refused("the URL is not plain https")
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found[:MOST_ADDRESSES]:
        address = unwrapped(ipaddress.ip_address(str(place[0]).partition("%")[0]))
        allowed = allowance.covers(host, address)
        if allowed or (tls and public(address)):
            return Target(host, str(place[0]), port, path, tls)
    raise Refused("the host has no public address, or the URL is not https, and neither is allowed by name")


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where it is one: a private target must not hide in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def public(address: Address) -> bool:
    """Whether the address is on the open internet."""
    return address.is_global and not address.is_multicast and not address.is_reserved


class _Checked(http.client.HTTPConnection):
    """Connects to the checked address and speaks to the named host."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout_s)
        self._target = target
        # A socket's own timeout is for one read: a host that answers a byte a second would never come to its end.
        self._cut = threading.Timer(timeout_s, self._shut)

    def connect(self) -> None:
        self.sock = socket.create_connection((self._target.address, self._target.port), self.timeout)
        self._cut.start()
        if self._target.tls:
            context, name = ssl.create_default_context(), self._target.host
            self.sock = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def close(self) -> None:
        self._cut.cancel()
        super().close()

    def _shut(self) -> None:
        if (connected := self.sock) is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


def post(target: Target, body: bytes, headers: Mapping[str, str], timeout_s: float) -> int:
    """The status of one POST. A redirect is a status like any other. Raises OSError or http.client.HTTPException.

    `timeout_s` to connect, and as much from there to the end of the answer's head.
    """
    connection = _Checked(target, timeout_s)
    try:
        connection.request("POST", target.path, body, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()
