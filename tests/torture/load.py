"""A steady load for tests that change what runs beneath it: some dozens of jobs wait until it is told to end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, text

from tests.torture.callers import Callers
from tests.torture.judge import Violation, judge, read, strangers
from tests.torture.ledger import Ledger, Order
from tests.torture.orders import Mix, Orders

PHASE = "load"

SHORT = Mix(callback=0)

LONG = Mix(callback=0, steps_of=(80, 80), step_s=0.1)
"""Long jobs of eight seconds, with a checkpoint a step."""

WAITING = 60
"""Jobs below which more are submitted."""


class Load:
    """`with Load(...) as load:`; each job holds a thread of its worker for `sleep_s` and costs no processor time."""

    def __init__(
        self, folder: Path, engine: Engine, url: str, token: str, *, sleep_s: float = 0.2, long: int = 0, seed: int = 5
    ) -> None:
        """`folder` takes the ledger; `long`: how many long jobs stand at the beginning."""
        self.ledger = Ledger(folder / "ledger.jsonl")
        self._engine, self._token, self._seed = engine, token, seed
        self._callers = [Callers(url, token, self.ledger, seed)]
        self._orders = Orders(seed, "http://127.0.0.1/unused")
        self._files = self._orders.files[:4]
        self._sleep_s, self._long = sleep_s, long
        self._enough = threading.Event()
        self._failed: list[Exception] = []
        self._thread = threading.Thread(target=self._feed, name="load")

    def __enter__(self) -> Load:
        first = (self._short(content) for content in self._files)
        self._callers[0].submit(PHASE, first, 50.0)
        self._callers[0].submit_many(PHASE, (self._orders.steps(LONG) for _ in range(self._long)))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        for one in self._callers:
            one.close()
        self.ledger.close()

    def _stop(self) -> None:
        self._enough.set()
        self._thread.join(120)

    def go_to(self, url: str) -> None:
        """Submit to another API from now on."""
        self._callers.append(Callers(url, self._token, self.ledger, self._seed + len(self._callers)))

    def end(self, until: Callable[[Callable[[], object], float], None], within_s: float) -> None:
        """No more, and wait with the test's `until` for the end of every job."""
        self._stop()
        if self._failed:
            raise self._failed[0]
        until(lambda: self.count("state IN ('queued', 'running')") == 0, within_s)

    def count(self, condition: str) -> int:
        """How many jobs are so."""
        with self._engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM jobs WHERE {condition}")).scalar_one())

    def violations(self, files: Path, commits: Path) -> list[Violation]:
        """Every broken promise, as a judge outside of the system finds it; rows and folders of nobody, too."""
        held = read(self._engine, [entry.ids[0] for entry in self.ledger.of(PHASE) if entry.ids])
        found = judge(self.ledger, PHASE, held, files, commits)
        return [*found, *(one for one in strangers(self._engine, self.ledger, files) if one.sort != "files")]

    def _feed(self) -> None:
        try:
            while not self._enough.wait(0.2):
                if self.count("state = 'queued'") < WAITING:
                    some = (self._short(self._orders.rng.choice(self._files)) for _ in range(40))
                    self._callers[-1].submit_many(PHASE, some)
        except Exception as error:
            self._failed.append(error)

    def _short(self, content: bytes) -> Order:
        return self._orders.of_file(content, SHORT, sleep_s=self._sleep_s, artifact=self._orders.rng.random() < 0.3)
