"""One attempt at an inference job: its items, and how each of them ended."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from db.records import Claim, StoredArtifact
from jobs.errors import JobError
from jobs.kinds import Kind, Params
from jobs.predicting import Source

if TYPE_CHECKING:
    from workers.loading import Loaded


@dataclass(eq=False, slots=True)
class Unit:
    """One item on its way through decode, predict and encode."""

    attempt: Attempt
    position: int
    decoded: Any = None
    output: Any = None


@dataclass(eq=False)
class Attempt:
    """A claimed job. The hands and the batcher fill `items`; `ended` is set once, by whoever ends it first."""

    claim: Claim
    kind: Kind
    params: Params
    model: Loaded | None = None
    sources: list[Source | JobError] | None = None
    """One per item, in the order of the inputs; None until the inputs were fetched."""

    items: list[dict[str, Any] | JobError | None] = field(default_factory=list)
    artifacts: list[StoredArtifact] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=lambda: {"decode_s": 0.0, "predict_s": 0.0, "encode_s": 0.0})
    taken_at: float = field(default_factory=time.monotonic)
    started_at: float | None = None
    """When the first of its items was touched (monotonic); its `timeout_s` counts from here."""

    batch_size: int | None = None
    """The smallest batch that memory allowed; None where it never ran out."""

    cpu_items: int = 0
    """Items that ran on the CPU because the device had no memory for them."""

    cancelled: bool = False
    ended: bool = False
    _next: int = 0
    _open: int = 0
    _told: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def id(self) -> str:
        """The job's id."""
        return self.claim.id

    def begin(self, sources: list[Source | JobError]) -> None:
        """The inputs are known: one item each."""
        self.sources = sources
        self.items = [None] * len(sources)
        self._open = len(sources)

    def next_unit(self) -> Unit | None:
        """The next item to decode; None when none is left. Only one thread at a time may ask."""
        if self._next >= len(self.items):
            return None
        self._next += 1
        return Unit(self, self._next - 1)

    def skip(self) -> int:
        """Take back the items that no hand has taken; how many. Under the bench's lock."""
        left = self.undecoded
        self._next = len(self.items)
        return left

    @property
    def undecoded(self) -> int:
        """How many items no hand has taken yet."""
        return len(self.items) - self._next

    def settle(self, position: int, outcome: dict[str, Any] | JobError) -> bool:
        """Record an item's entry or error; True for the one call that settles the last open item."""
        with self._lock:
            if self.items[position] is not None:
                return False
            self.items[position] = outcome
            self._open -= 1
            return self._open == 0

    def spend(self, phase: str, seconds: float) -> None:
        """Add to the job's time in a phase (of a batch, its share)."""
        with self._lock:
            self.timings[phase] += seconds

    def finish(self) -> bool:
        """Mark as ended; True for the first caller, who alone may then commit an outcome."""
        with self._lock:
            first = not self.ended
            self.ended = True
            return first

    def adopt(self, model: Loaded) -> bool:
        """Note the model that it holds; False where it has ended meanwhile, and then it holds none."""
        with self._lock:
            if not self.ended:
                self.model = model
            return not self.ended

    def overdue(self, grace_s: float = 0.0) -> bool:
        """Whether it has run longer than its `timeout_s` (and `grace_s`)."""
        return self.started_at is not None and time.monotonic() - self.started_at > self.claim.timeout_s + grace_s

    def news(self) -> tuple[float, str] | None:
        """Fraction done and a message, where there is something new to say of a job of several items."""
        total = len(self.items)
        if total < 2 or self.ended:
            return None
        done = total - self._open
        fraction = done / total
        if fraction <= self._told:
            return None
        self._told = fraction
        return fraction, f"{done} of {total} items"
