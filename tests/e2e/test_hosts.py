"""Two worker hosts and a control host, each with a network of its own: one is lost under load, one gets a bad line.

Root alone can make such hosts. Elsewhere this is skipped; in CI as root it has to run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.conftest import absent
from tests.services.installation import Installation
from tests.services.network import Host, Network, NoNetwork
from tests.services.postgres import NoPostgres
from tests.services.redis import NoRedis
from tests.torture.load import Load

SETTINGS = {"INFERENCE_THREADS": "4", "LEASE_INFERENCE_S": "5", "LEASE_LONG_S": "8", "WORKER_DEAD_S": "3"}
"""Leases as short as those of the torture: a busy machine must not take a slow worker for a lost one."""

COUNTED = 60
"""Jobs that a phase is measured by."""


class Pace(NamedTuple):
    """Who ended the jobs of a phase, and how many there were in a second."""

    shares: dict[str, float]
    rate: float


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    made = Network("control", "gpu-a", "gpu-b")
    try:
        made.__enter__()
    except NoNetwork as missing:
        if os.geteuid() == 0:
            absent(str(missing))
        pytest.skip(str(missing))
    yield made
    made.__exit__()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[Installation]:
    """The installation, with this thread on its control host. A test leaves no worker behind."""
    with network["control"].inside():
        try:
            made = Installation(tmp_path_factory.mktemp("site"), network, "control", **SETTINGS)
            made.__enter__()
        except (NoPostgres, NoRedis) as missing:
            absent(str(missing))
            raise
        try:
            yield made
        finally:
            made.__exit__()


ENDED = (
    "SELECT count(*) FROM attempts a JOIN workers w ON w.id = a.worker_id WHERE a.outcome = 'succeeded'"
    " AND w.host LIKE :host AND a.ended_at > :since"
)

BEGUN = (
    "SELECT count(*) FROM attempts a JOIN workers w ON w.id = a.worker_id"
    " WHERE w.host = :host AND a.started_at > :since"
)


def clock(site: Installation) -> float:
    """The database's."""
    return float(site.one("SELECT extract(epoch FROM clock_timestamp())"))


def pace(site: Installation) -> Pace:
    """Of the jobs that end from now on."""
    since = clock(site)

    def ended(host: str) -> int:
        return int(site.one(ENDED, host=host, since=since))

    site.until(lambda: ended("%") >= COUNTED, 240)
    took, total = clock(site) - since, ended("%")
    return Pace({host: round(ended(host) / total, 2) for host in ("gpu-a", "gpu-b")}, round(total / took, 1))


def held_by(site: Installation, host: Host) -> set[str]:
    """Ids of the jobs that a host runs."""
    rows = site.asked("SELECT j.id FROM jobs j JOIN workers w ON w.id = j.worker_id"
                      " WHERE j.state = 'running' AND w.host = :host", host=host.name)  # fmt: skip
    return {row[0] for row in rows}


@pytest.mark.timeout(600)
def test_a_host_joins_with_one_command_and_says_what_is_wrong_with_its_variables(
    site: Installation, network: Network
) -> None:
    """Given a wrong password, then `medjobs worker` ends and says what to correct; given the right ones, the host is
    listed, with what it brings."""
    host = network["gpu-a"]
    scheme, _, rest = site.redis_url.partition("//:")
    wrong = {
        "MEDJOBS_DATABASE_URL": site.database_url.replace("//medjobs:", "//medjobs:not"),
        "MEDJOBS_REDIS_URL": f"{scheme}//:not{rest}",
        "MEDJOBS_STORAGE_URL": (site.folder / "unmounted").as_uri(),
    }
    for variable, value in wrong.items():
        assert site.join(host, **{variable: value}).wait(120) == 1, site.logs()
        said = site.log(host, "inference").read_text()
        assert variable in said
        assert site.database_url not in said
        assert value not in said or variable == "MEDJOBS_STORAGE_URL"
    begun = time.monotonic()
    worker = site.join(host)
    site.until(lambda: site.live() == [(host.name, "inference")], 240)
    print(f"joined within {time.monotonic() - begun:.1f} s")
    assert "gpu-a joins with cpu for inference jobs" in site.log(host, "inference").read_text()
    listed = site.medjobs("workers")
    assert listed.returncode == 0, listed
    assert "gpu-a" in listed.stdout
    assert site.medjobs("workers", "drain", host.name, "--wait").returncode == 0
    assert worker.wait(60) == 0
    assert site.live() == []


@pytest.mark.timeout(900)
def test_a_host_lost_under_load_costs_nothing_and_works_again_once_it_is_back(
    site: Installation, network: Network
) -> None:
    """Given two worker hosts under load, when the cable of one is pulled and put back, and its line is bad then, then
    every job is committed once with the right result, the host gets jobs again by itself, and it can be drained."""
    a, b = network["gpu-a"], network["gpu-b"]
    commits = site.seam / "commits"
    workers = {(host.name, pool): site.join(host, pool) for host in (a, b) for pool in ("inference", "long")}
    begun = time.monotonic()
    site.until(lambda: len(site.live()) == 4, 300)
    print(f"four workers of two hosts joined within {time.monotonic() - begun:.1f} s")
    with Load(site.folder, site.engine, site.url, site.token, long=2) as load:
        site.until(lambda: all(site.one(ENDED, host=host.name, since=0) > 5 for host in (a, b)), 240)
        both = pace(site)
        site.until(lambda: len(held_by(site, b)) >= 3, 60)
        network.cut(b)
        lost = held_by(site, b)
        site.until(lambda: not held_by(site, b), 60)
        alone = pace(site)
        back = clock(site)
        network.mend(b)
        site.until(lambda: site.one(BEGUN, host=b.name, since=back) > 5, 240)
        said = network.slow(b)
        slowed = pace(site)
        network.speed(b)
        drained = site.medjobs("workers", "drain", b.name, "--wait")
        assert drained.returncode == 0, drained
        assert [workers[b.name, pool].wait(60) for pool in ("inference", "long")] == [0, 0]
        assert {host for host, _ in site.live()} == {a.name}
        load.end(site.until, 300)
    # What the lost host had written under its old fences is swept away within seconds.
    site.until(lambda: not load.violations(site.files, commits), 60)
    print(f"with both {both}, with one lost {alone}, with {said} {slowed}; {len(lost)} jobs were lost with it")
    late = site.log(b, "inference").read_text()
    assert load.violations(site.files, commits) == []
    assert len(lost) >= 3
    assert min(both.shares.values()) > 0.2, both
    assert alone.shares == {"gpu-a": 1.0, "gpu-b": 0.0}
    assert slowed.shares["gpu-b"] > 0.1, slowed
    assert both.rate > 1.2 * alone.rate, (both, alone)
    assert "came too late and were discarded" in late, late[-3000:]
    assert load.count("state <> 'succeeded'") == 0
