"""The torture's phases: what is submitted, what goes wrong meanwhile, and what the report says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.torture import faults
from tests.torture.faults import Fault
from tests.torture.ledger import Order
from tests.torture.orders import Mix, Orders
from tests.torture.system import LEASE_S

LONG = Mix(mean=20, inline=0, scale=0, steps=60, train=40, steps_of=(20, 40), step_s=0.05)


def everyday(count: int, mix: Mix) -> Callable[[Orders], Iterator[Order]]:
    """So many orders of a mix."""
    return lambda orders: orders.stream(count, mix)


def poisoned(orders: Orders) -> Iterator[Order]:
    """One poison among 31 good ones."""
    mix = Mix(steps=0, train=0)
    some = [*orders.stream(31, mix), orders.poison(mix)]
    orders.rng.shuffle(some)
    yield from some


def of_twenty_seconds(orders: Orders) -> Iterator[Order]:
    """Jobs of 20 s, longer than the visibility timeout, and many short ones."""
    mix = Mix()
    for _ in range(6):
        yield orders.of_file(orders.rng.choice(orders.files), mix, sleep_s=20.0, artifact=True)
    yield orders.steps(Mix(steps_of=(200, 200), step_s=0.1))
    yield from orders.stream(200, mix)


def for_zombies(orders: Orders) -> Iterator[Order]:
    """Jobs of four seconds, with artifacts and webhooks: what a frozen worker still has in hand when it wakes up, and
    another has begun."""
    mix = Mix(callback=1.0)
    for number in range(80):
        if number % 12 == 0:
            yield orders.steps(Mix(steps_of=(30, 30), step_s=0.1, callback=1.0))
        else:
            yield orders.of_file(orders.rng.choice(orders.files), mix, sleep_s=4.0, artifact=True)


def images(orders: Orders) -> Iterator[Order]:
    """Chest images for the network that comes with medjobs."""
    for _ in range(120):
        yield orders.image()


BACKLOG = 10_000


def backlog(orders: Orders) -> Iterator[Order]:
    """Ten thousand jobs that are in no hurry, of two priorities."""
    for number in range(BACKLOG):
        yield orders.numbered(priority=(3, 0)[number % 10 == 0])


def urgent(orders: Orders) -> Iterator[Order]:
    """Some that are, while those wait."""
    for _ in range(60):
        yield orders.numbered(priority=9)


@dataclass(frozen=True)
class Phase:
    """One fault under load."""

    name: str
    title: str
    fault: Fault
    orders: Callable[[Orders], Iterable[Order]]
    rate: float = 25.0
    """Submissions a second."""

    faked: Sequence[str] = ()
    """Roles whose clock is stepped."""

    settle_s: float = 120.0
    """Most time that the accepted jobs may take after the last fault."""

    most_messages: float | None = 1.5
    """Mean number of messages per job; None where Redis forgets messages, which have to be sent again."""

    replays: float = 0.1
    """The share of accepted submissions that are sent once more."""

    reuploads: float = 0.3
    """The share of submissions whose files are uploaded though they are there."""

    recovery_s: float | None = None
    """A job whose process was killed is free again within this; None: not judged."""

    apart_s: float | None = None
    """Most time that a job which comes to its end may wait between two attempts; None: not judged."""

    must: Sequence[str] = ()
    """Faults that have to be injected at least once, or the phase proves nothing."""

    tail: int = 0
    """Orders after the fault, of which every worker has to take some within a minute."""

    learn: bool = False
    """Whether a run without faults says first what must come of each image."""

    backlog: Callable[[Orders], Iterable[Order]] | None = None
    """Submitted by the thousand before the rest, which has to overtake it."""

    small_disk: bool = False
    """Whether the storage lies on a small disk of its own."""

    dialects: Sequence[str] = field(default=("sqlite", "postgresql"))


HOSTS = ("api", "inference-1", "inference-2", "long", "keeper-1", "keeper-2")

KILLS = ("kill -9 parent", "kill -9 child", "kill -9 all")
DEATHS = tuple(f"death {point}" for point in faults.POINTS)

FULL = (
    Phase("none", "no fault", faults.nothing, everyday(300, Mix(train=1))),
    Phase("workers", "kill -9 of a worker, every 2-5 s", faults.kill_workers, everyday(5000, Mix(steps=0.3)), rate=60,
          recovery_s=LEASE_S + 5, must=KILLS, dialects=("postgresql",)),
    Phase("workers", "kill -9 of a worker, every 2-5 s", faults.kill_workers, everyday(2000, Mix(steps=0.3)), rate=40,
          recovery_s=LEASE_S + 5, must=KILLS, dialects=("sqlite",)),
    Phase("models", "kill -9 of a worker under real images", faults.kill_some, images, rate=3, learn=True,
          most_messages=2.0),
    Phase("flush", "FLUSHALL every 10 s", faults.flush, everyday(400, Mix()), most_messages=None, tail=60),
    Phase("restarts", "Redis killed and restarted 20 times", faults.restart_redis, everyday(400, Mix()),
          most_messages=None, tail=60),
    Phase("frozen", "Redis stopped for 60 s", faults.stop_redis, everyday(400, Mix()), rate=8, most_messages=None,
          tail=60, dialects=("postgresql",)),
    Phase("frozen", "Redis stopped for 15 s", faults.stop_redis_shortly, everyday(200, Mix()), rate=15,
          most_messages=None, tail=60, dialects=("sqlite",)),
    Phase("full", "Redis full (maxmemory)", faults.fill_redis, everyday(300, Mix()), rate=20, tail=60),
    Phase("down", "Redis down at submit, up while no keeper lives", faults.redis_and_keepers_away,
          everyday(150, Mix()), most_messages=None),
    Phase("messages", "every message 5 times, unordered; visibility 2 s, jobs of 20 s", faults.five_times,
          of_twenty_seconds, most_messages=None, settle_s=240),
    # A frozen worker takes messages with it, as many as it has places; so does a dead one.
    Phase("zombies", "a worker stopped beyond its lease", faults.zombies, for_zombies, rate=2, most_messages=2.0,
          must=("SIGSTOP inference beyond its lease", "SIGSTOP long beyond its lease")),
    Phase("points", "death at each named step", faults.crash_points, everyday(800, Mix(steps=4)), rate=18,
          settle_s=240, must=DEATHS),
    Phase("database", "database away", faults.database_away, everyday(400, Mix()), rate=20),
    Phase("poison", "an input that kills its process", faults.nothing, poisoned, rate=10, settle_s=180,
          most_messages=2.5, apart_s=2 * LEASE_S),
    Phase("training", "long jobs killed, drained, cut off, cancelled", faults.long_jobs, everyday(24, LONG),
          rate=0.8, settle_s=240, most_messages=2.5),
    Phase("api", "API processes killed", faults.kill_api, everyday(400, Mix()), rate=20, replays=0.3,
          must=("API dies after-insert", "API dies after-insert-commit", "kill -9 API")),
    Phase("clock", "clocks of hosts an hour ahead and behind", faults.clock_steps, everyday(300, Mix()), rate=20,
          faked=("api", "keeper-1", "inference-2", "long"), dialects=("postgresql",)),
    Phase("clock", "the clock of the host steps by an hour", faults.clock_steps, everyday(300, Mix()), rate=20,
          faked=HOSTS, dialects=("sqlite",)),
    Phase("priority", "urgent jobs behind a backlog of 10,000", faults.nothing, urgent, rate=10, backlog=backlog,
          settle_s=300),
    Phase("mixed", "all of it at random", faults.everything, everyday(1500, Mix(train=1)), rate=18, settle_s=240,
          most_messages=None),
    # The last: what it stored goes with its disk.
    Phase("disk", "the disk of the storage is full", faults.fill_disk, everyday(250, Mix(scale=0, callback=0)), rate=15,
          small_disk=True, most_messages=2.5),  # a message for each try
)  # fmt: skip

SLICE = (
    Phase("workers", "kill -9 of a worker, every 2-5 s", faults.kill_workers, everyday(200, Mix(steps=0.5)), rate=20),
    Phase("flush", "FLUSHALL every 10 s", faults.flush, everyday(80, Mix()), rate=16, most_messages=None),
)
"""Half a minute of it, for every run of the tests."""
