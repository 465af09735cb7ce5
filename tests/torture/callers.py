"""The callers: they submit, repeat what was not answered with the same key, upload again and again, and are called."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import httpx

from tests.torture.ledger import Entry, Ledger, Order
from tests.torture.orders import digest

PATIENCE_S = 180.0
"""A caller gives up a submission that was not answered for so long; the judge says that it was not accepted."""


class Callers:
    """Several callers at a common pace; `replays` and `reuploads` as in phases.Phase."""

    def __init__(
        self, url: str, token: str, ledger: Ledger, seed: int, *, replays: float = 0.1, reuploads: float = 0.3
    ) -> None:
        self._ledger = ledger
        self._replays, self._reuploads = replays, reuploads
        self._rng = random.Random(seed)
        self._uploaded: set[bytes] = set()
        self._clients = threading.local()
        self._opened: list[httpx.Client] = []
        self._url, self._headers = url, {"Authorization": f"Bearer {token}"}

    def client(self) -> httpx.Client:
        """This thread's client."""
        if not hasattr(self._clients, "one"):
            self._clients.one = httpx.Client(base_url=self._url, headers=self._headers, timeout=30)
            self._opened.append(self._clients.one)
        return self._clients.one  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close every thread's client."""
        for client in self._opened:
            client.close()

    def submit(self, phase: str, orders: Iterator[Order], rate: float, *, first: int = 0) -> list[Entry]:
        """Submit `rate` orders a second, counted from `first`; returns when each is answered or given up."""
        begun, entries = time.monotonic(), []
        with ThreadPoolExecutor(6) as pool:
            for number, order in enumerate(orders, first):
                time.sleep(max(0.0, begun + (number - first) / rate - time.monotonic()))
                key = f"{phase}-{number}-{self._rng.getrandbits(48):x}"
                entry = self._ledger.intend(key, phase, order)
                entries.append(entry)
                pool.submit(self._whole, entry, self._rng.random(), self._rng.random() < self._replays)
        return entries

    def _whole(self, entry: Entry, chance: float, replay: bool) -> None:
        """One order; what goes wrong in the caller itself is a refusal too, for the judge to see."""
        try:
            self._order(entry, chance, replay)
        except Exception as error:
            self._ledger.refuse(entry, f"the caller failed: {type(error).__name__}: {error}")

    def submit_many(self, phase: str, orders: Iterator[Order]) -> list[Entry]:
        """Submit them by the thousand."""
        entries = []
        while some := list(itertools.islice(orders, 1000)):
            made = [self._ledger.intend(f"{phase}-b{self._rng.getrandbits(48):x}", phase, order) for order in some]
            jobs = [{**entry.order.body, "idempotency_key": entry.key} for entry in made]
            answer = self._persist(lambda jobs=jobs: self.client().post("/v1/jobs:batch", json={"jobs": jobs}))
            ids = (
                [job["id"] for job in answer.json()["jobs"]] if answer is not None and answer.status_code == 202 else []
            )
            for number, entry in enumerate(made):
                if ids:
                    self._ledger.accept(entry, ids[number])
                else:
                    self._ledger.refuse(entry, "no answer" if answer is None else answer.text[:300])
            entries += made
        return entries

    def _order(self, entry: Entry, chance: float, replay: bool) -> None:
        for content in entry.order.uploads:
            # Some are uploaded every time, so that bytes are written while others read them.
            if content not in self._uploaded or chance < self._reuploads:
                self._upload(content)
        self._post(entry)
        if replay and entry.ids:
            self._post(entry)

    def _upload(self, content: bytes) -> None:
        answer = self._persist(
            lambda: self.client().post(
                "/v1/files", content=content, headers={"Content-Type": "application/octet-stream"}
            )
        )
        if answer is not None and answer.status_code in (200, 201):
            assert answer.json()["id"] == digest(content)
            self._uploaded.add(content)

    def _post(self, entry: Entry) -> None:
        headers = {"Idempotency-Key": entry.key}
        answer = self._persist(lambda: self.client().post("/v1/jobs", json=dict(entry.order.body), headers=headers))
        if answer is None:
            self._ledger.refuse(entry, "no answer")
        elif answer.status_code == 202:
            self._ledger.accept(entry, answer.json()["id"])
        else:
            self._ledger.refuse(entry, f"{answer.status_code} {answer.text[:300]}")

    def cancel(self, entry: Entry) -> None:
        """Ask for a cancel; the entry notes it where it was accepted."""
        answer = self._persist(lambda: self.client().post(f"/v1/jobs/{entry.ids[0]}:cancel"))
        entry.cancelled = entry.cancelled or (answer is not None and answer.status_code == 202)

    def _persist(self, ask) -> httpx.Response | None:  # type: ignore[no-untyped-def]
        """Ask until there is an answer that a retry would not change; None where the patience is over."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer: httpx.Response = ask()
            except httpx.HTTPError:
                time.sleep(0.2)
                continue
            if answer.status_code != 429 and answer.status_code < 500:
                return answer
            time.sleep(0.3)
        return None


class Receiver:
    """The target of webhooks; notes each call in the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                ledger.called(body["data"]["id"], self.headers["webhook-id"], body["data"]["state"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/ended"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
