"""Hosts of their own on this machine: a network namespace for each, and a bridge between them (iproute2, as root).

Nothing outside of the namespaces is touched: no address, no route, no rule of this machine. Unix sockets and files are
shared, networks are not.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

SUBNET = "10.83.0"

CLONE_NEWNET = 0x40000000


class NoNetwork(Exception):
    """No namespaces can be made here; the text says why."""


class Host:
    """One namespace with an address."""

    def __init__(self, run: str, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.namespace = f"medjobs-{run}-{name}"

    def command(self, *words: str) -> list[str]:
        """The words as they are typed on this host: in its namespace, and under its own host name."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return ["ip", "netns", "exec", self.namespace, *named, *words]

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and the threads and processes that it starts meanwhile, are on the host."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(own)
        finally:
            os.close(own)


class Network:
    """Hosts on one switch; the first holds the switch. Made by `with`, and gone after it."""

    def __init__(self, *names: str) -> None:
        """Names that are unique here; a network of the same names may exist beside it."""
        run = secrets.token_hex(3)
        self.hosts = {name: Host(run, name, f"{SUBNET}.{number}") for number, name in enumerate(names, 1)}
        self._switch = next(iter(self.hosts.values()))

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __enter__(self) -> Network:
        if shutil.which("ip") is None or shutil.which("unshare") is None:
            raise NoNetwork("no `ip` or `unshare` on PATH; install iproute2 and util-linux to run this.")
        if os.geteuid() != 0:
            raise NoNetwork("only root may make network namespaces.")
        try:
            self._make()
        except NoNetwork:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts.values():
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True, check=False)

    def _make(self) -> None:
        switch = self._switch.namespace
        for host in self.hosts.values():
            _ip("netns", "add", host.namespace)
            _ip("-n", host.namespace, "link", "set", "lo", "up")
        _ip("-n", switch, "link", "add", "lan", "type", "bridge")
        _ip("-n", switch, "link", "set", "lan", "up")
        _ip("-n", switch, "address", "add", f"{self._switch.address}/24", "dev", "lan")
        for host in list(self.hosts.values())[1:]:
            port = _port(host)
            _ip("link", "add", port, "netns", switch, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            _ip("-n", switch, "link", "set", port, "master", "lan")
            _ip("-n", switch, "link", "set", port, "up")
            _ip("-n", host.namespace, "link", "set", "eth0", "up")
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")

    def cut(self, host: Host) -> None:
        """Pull the host's cable out of the switch: whoever talks to it hears nothing, no FIN and no reset."""
        _ip("-n", self._switch.namespace, "link", "set", _port(host), "down")

    def mend(self, host: Host) -> None:
        """Put it back."""
        _ip("-n", self._switch.namespace, "link", "set", _port(host), "up")

    def slow(self, host: Host) -> str:
        """Make the host's line bad in both directions; says how.

        100 ms and a packet in a hundred lost by netem. A kernel without it (sch_netem) has a narrow line instead, which
        delays by its queue alone.
        """
        for discipline, said in (
            ("netem delay 50ms loss 1%", "100 ms there and back, 1 % of the packets lost"),
            ("tbf rate 400kbit burst 16kb latency 300ms", "400 kbit/s: this kernel has no netem (sch_netem)"),
        ):
            both = ((self._switch.namespace, _port(host)), (host.namespace, "eth0"))
            done = [_tc(namespace, "add", device, *discipline.split()) for namespace, device in both]
            if all(done):
                return said
        raise NoNetwork("`tc` can slow no line here; install iproute2 and a kernel with sch_netem or sch_tbf.")

    def speed(self, host: Host) -> None:
        """Take that back."""
        _tc(self._switch.namespace, "del", _port(host))
        _tc(host.namespace, "del", "eth0")


def _port(host: Host) -> str:
    """The host's end at the switch; a device's name has at most 15 characters."""
    return f"to-{host.name}"[:15]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoNetwork(f"`ip {' '.join(words)}` failed: {done.stderr.strip()}")


def _tc(namespace: str, verb: str, device: str, *discipline: str) -> bool:
    words: Sequence[str] = ["tc", "-n", namespace, "qdisc", verb, "dev", device, "root", *discipline]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _enter(descriptor: int) -> None:
    """setns(2); Python has it from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise NoNetwork(f"setns failed: {os.strerror(number)}")
