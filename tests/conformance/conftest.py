"""The kinds under test: those of the registry and the toys, found as any installed package's would be."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from jobs.kinds import Kind
from models import catalogue, registry
from tests.services.workers import TOYS

sys.path.insert(0, str(TOYS))
registry.kinds.cache_clear()
KINDS = dict(registry.kinds())
sys.path.remove(str(TOYS))
registry.kinds.cache_clear()

INFERENCE = sorted(name for name, kind in KINDS.items() if kind.pool == "inference")
LONG = sorted(name for name, kind in KINDS.items() if kind.pool == "long")


@pytest.fixture(autouse=True)
def _toys_are_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(TOYS))
    registry.kinds.cache_clear()
    catalogue.catalogue.cache_clear()
    yield
    registry.kinds.cache_clear()
    catalogue.catalogue.cache_clear()


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind in turn."""
    return KINDS[request.param]


@pytest.fixture(params=INFERENCE)
def inference_kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of the inference pool in turn."""
    return KINDS[request.param]


@pytest.fixture(params=LONG)
def long_kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of the long pool in turn."""
    return KINDS[request.param]
