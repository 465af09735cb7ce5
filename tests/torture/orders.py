"""The stream of jobs, drawn from a seed, each with what must come of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.ledger import Order

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"

FACTOR = 2.0
"""What the shipped version 1 of toy-scale multiplies by."""

CONTENTS = 48
"""Different files; each is uploaded again and again while jobs read it."""


@dataclass(frozen=True)
class Mix:
    """How often each sort of job comes, as weights; the rest are the small change of everyday."""

    mean: float = 60
    inline: float = 15
    scale: float = 15
    steps: float = 1
    train: float = 0
    slow_s: tuple[float, ...] = (0.0, 0.0, 0.02, 0.1)
    step_s: float = 0.05
    steps_of: tuple[int, int] = (10, 30)
    callback: float = 0.3
    """The share that has a webhook."""


class Orders:
    """Orders from one seed: the same seed, the same orders."""

    def __init__(self, seed: int, callback_url: str) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self._callback_url = callback_url
        self.files = [self.rng.randbytes(self.rng.randrange(20, 60_000)) for _ in range(CONTENTS)]
        self.numbers = ["".join(f"{self.rng.randrange(-999, 999) / 8}\n" for _ in range(6)).encode() for _ in range(16)]
        self.images = [path.read_bytes() for path in sorted(EXAMPLES.glob("chest-*.dcm"))[:12]]
        self.learned: dict[bytes, tuple[Mapping[str, Any], ...]] = {}
        """What a fault-free run said of each image."""

        self._trainings = 0

    def stream(self, count: int, mix: Mix) -> Iterator[Order]:
        """So many orders."""
        makers = {self.mean: mix.mean, self.inline: mix.inline, self.scale: mix.scale, self.steps: mix.steps,
                  self.train: mix.train}  # fmt: skip
        for _ in range(count):
            (maker,) = self.rng.choices(list(makers), list(makers.values()))
            yield maker(mix)

    def mean(self, mix: Mix) -> Order:
        """The mean of a file's bytes, half of them with an artifact."""
        content = self.rng.choice(self.files)
        return self.of_file(content, mix, sleep_s=self.rng.choice(mix.slow_s), artifact=self.rng.random() < 0.5)

    def of_file(self, content: bytes, mix: Mix, *, sleep_s: float, artifact: bool = False) -> Order:
        """The mean of these bytes."""
        mean = sum(content) / len(content)
        params = {"sleep_s": sleep_s, "artifact": artifact}
        body = self._body(mix, kind="toy-mean", inputs=[digest(content)], params=params)
        files = {"mean-0.txt": f"{mean}\n".encode()} if artifact else {}
        return Order("toy-mean", body, ({"mean": mean, "size": len(content)},), files, uploads=(content,))

    def inline(self, mix: Mix) -> Order:
        """The mean of numbers in the body."""
        values = [self.rng.randrange(1000) for _ in range(self.rng.randrange(1, 20))]
        body = self._body(mix, kind="toy-mean", inputs=[{"data": {"values": values}}], params={})
        return Order("toy-mean", body, ({"mean": sum(values) / len(values), "size": len(values)},))

    def scale(self, mix: Mix) -> Order:
        """Six numbers in the lines of a file, times the factor of a version."""
        content = self.rng.choice(self.numbers)
        body = self._body(mix, kind="toy-scale", inputs=[digest(content)])
        items = tuple({"scaled": float(line) * FACTOR, "version": 1} for line in content.split())
        return Order("toy-scale", body, items, uploads=(content,))

    def steps(self, mix: Mix) -> Order:
        """A long job with a checkpoint a step; the total is the same however often it is interrupted."""
        seed, steps = self.rng.randrange(2**31), self.rng.randint(*mix.steps_of)
        total = _sum(seed, steps)
        body = self._body(mix, kind="toy-steps", seed=seed, params={"steps": steps, "step_s": mix.step_s})
        return Order("toy-steps", body, ({"total": total, "steps": steps},), {"total.txt": f"{total}\n".encode()})

    def train(self, mix: Mix) -> Order:
        """A training that registers a version."""
        seed, steps = self.rng.randrange(2**31), self.rng.randint(*mix.steps_of)
        self._trainings += 1
        name = f"trained-{self.seed}-{self._trainings}"
        params = {"steps": steps, "step_s": mix.step_s, "name": name}
        body = self._body(mix, kind="toy-train", seed=seed, params=params)
        item = {"factor": _sum(seed, steps), "steps": steps, "version": {"name": name, "version": 1}}
        return Order("toy-train", body, (item,))

    def numbered(self, priority: int) -> Order:
        """Next to no work, at a priority."""
        values = [self.rng.randrange(1000)]
        body = {"kind": "toy-mean", "inputs": [{"data": {"values": values}}], "priority": priority}
        return Order("toy-mean", body, ({"mean": float(values[0]), "size": 1},))

    def image(self) -> Order:
        """A chest image for the shipped network; its answer is known once a fault-free run has given it."""
        content = self.rng.choice(self.images)
        return self.diagnosis(content, self.learned[content])

    def diagnosis(self, content: bytes, items: tuple[Mapping[str, Any], ...] | None = None) -> Order:
        """That image. The same decisions; batches of another size move a probability by far less than .01."""
        body = {"kind": "diagnosis", "inputs": [digest(content)]}
        return Order("diagnosis", body, items, None, uploads=(content,), tolerance=0.01)

    def poison(self, mix: Mix) -> Order:
        """An input that kills the process that reads it."""
        content = b"KILLER" + self.rng.randbytes(8)
        body = self._body(mix, kind="toy-mean", inputs=[digest(content)])
        return Order("toy-mean", body, None, ends="failed", code="worker-crashed", uploads=(content,))

    def _body(self, mix: Mix, **fields: object) -> dict[str, object]:
        if self.rng.random() < mix.callback:
            fields["callback_url"] = self._callback_url
        return fields


def digest(content: bytes) -> str:
    """The id that a file has in the system."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _sum(seed: int, steps: int) -> float:
    total = 0.0
    for step in range(steps):
        total += random.Random(seed * 100_003 + step).random()
    return total
