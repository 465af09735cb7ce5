"""What a keeper measures of itself, for Prometheus (docs/operations.md lists it)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()

SWEEPS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)

SWEEP = Histogram(
    "medjobs_keeper_sweep_seconds", "Time of the keeper's sweeps.", ["sweep"], buckets=SWEEPS_S, registry=REGISTRY
)
SWEEP_FAILURES = Counter(
    "medjobs_keeper_sweep_failures", "Sweeps that failed and are tried again.", ["sweep", "why"], registry=REGISTRY
)
SENT = Counter("medjobs_keeper_messages_sent", "Messages that the keeper sent.", ["why"], registry=REGISTRY)
RESCUED = Counter(
    "medjobs_keeper_jobs_rescued", "Jobs that the keeper took from workers.", ["outcome"], registry=REGISTRY
)
UNREACHABLE = Counter(
    "medjobs_keeper_messages_refused", "Messages that Redis did not take from the keeper.", registry=REGISTRY
)

for _why in ("unsent", "lost", "waited-long"):
    SENT.labels(_why)
for _outcome in ("lease-expired", "worker-lost"):
    RESCUED.labels(_outcome)
