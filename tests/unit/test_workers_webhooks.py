"""Webhooks: the signature as Standard Webhooks publishes it, and targets that may not be called."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import socket
import threading
import time
from typing import cast

import pytest

from db.engine import Database
from db.outbox import Call
from jobs.allowance import Allowance
from jobs.settings import Settings
from workers.calling import Refused, Target, post, public, resolve, unwrapped
from workers.webhooks import AT_ONCE, Webhooks, body, headers, signature

NOBODY = Allowance.parse("")


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    """Key, id, timestamp, body and signature as in the Standard Webhooks specification's libraries' tests."""
    secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    content = b'{"test": 2432232314}'
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, content)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(f"whsec_{secret}", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, content) == signed


def test_the_body_carries_ids_and_states_only() -> None:
    call = Call(7, "0198", "diagnosis", "succeeded", "https://x/", "c2VjcmV0", 0, 1_700_000_000.0)
    assert json.loads(body(call)) == {
        "type": "job.succeeded",
        "timestamp": "2023-11-14T22:13:20Z",
        "data": {"id": "0198", "kind": "diagnosis", "state": "succeeded"},
    }
    sent = headers(call, body(call), 1)
    assert sent["webhook-id"] == "msg_7"
    assert sent["webhook-timestamp"] == "1"


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.216.34/",
        "https://127.0.0.1/",
        "https://10.0.0.8/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:7f00:1::]/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://[fd00::1]/",
        "https://localhost/",
        "https://user:word@93.184.216.34/",
        "ftp://93.184.216.34/",
        "https:///nohost",
    ],
)
def test_private_and_plain_targets_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        resolve(url, NOBODY)


def test_a_public_https_target_is_called_at_its_checked_address() -> None:
    target = resolve("https://93.184.216.34:8443/hook?a=b", NOBODY)
    assert (target.address, target.port, target.path, target.tls) == ("93.184.216.34", 8443, "/hook?a=b", True)


def test_what_is_allowed_by_name_or_network_may_be_private_and_plain() -> None:
    assert resolve("http://127.0.0.1:9/x", Allowance.parse("127.0.0.0/8")).address == "127.0.0.1"
    assert resolve("http://localhost:9/x", Allowance.parse("hooks.lan, LOCALHOST")).host == "localhost"
    with pytest.raises(ValueError):
        Allowance.parse("10.0.0.0/99")


def test_an_address_hidden_in_another_is_seen() -> None:
    assert unwrapped(ipaddress.ip_address("::ffff:10.0.0.1")) == ipaddress.ip_address("10.0.0.1")
    assert unwrapped(ipaddress.ip_address("64:ff9b::10.0.0.1")) == ipaddress.ip_address("10.0.0.1")
    assert not public(ipaddress.ip_address("239.1.1.1"))
    assert public(ipaddress.ip_address("93.184.216.34"))


def dripping(first: bytes, drop: bytes) -> tuple[Target, threading.Event]:
    """A host that answers `first` and then `drop` ten times a second, for ever; set the event to end it."""
    listener, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def answer() -> None:
        with listener, listener.accept()[0] as peer, contextlib.suppress(OSError):
            peer.sendall(first)
            while not over.wait(0.1):
                peer.sendall(drop)

    threading.Thread(target=answer, daemon=True).start()
    return Target("localhost", "127.0.0.1", listener.getsockname()[1], "/", tls=False), over


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 "])
def test_a_host_that_never_comes_to_the_end_of_its_answer_is_given_up(first: bytes) -> None:
    """Given an answer of a byte at a time, each well inside the socket's timeout, then the call ends all the same."""
    target, over = dripping(first, b"2")
    began = time.monotonic()
    try:
        with pytest.raises((OSError, http.client.HTTPException)):
            post(target, b"{}", {}, timeout_s=0.5)
        assert time.monotonic() - began < 5
    finally:
        over.set()


def test_no_more_calls_are_reserved_than_can_be_made_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, float]] = []

    def due(db: object, limit: int, *, reserve_s: float) -> list[Call]:
        asked.append((limit, reserve_s))
        return []

    monkeypatch.setattr("db.outbox.due", due)
    for timeout_s, reserve_s in ((10.0, 60.0), (2.0, 5.0)):
        calls = Webhooks(cast(Database, None), Settings(webhook_timeout_s=timeout_s, webhook_reserve_s=reserve_s))
        calls.deliver()
        calls.close()
    assert asked == [(3 * AT_ONCE, 60.0), (AT_ONCE, 5.0)]
