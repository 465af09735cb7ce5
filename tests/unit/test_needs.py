"""Which queue a job waits in, and which devices serve it."""

from __future__ import annotations

import pytest

from broker.queues import queue
from jobs.needs import GIB, Device, all_queues, declared, model_of, own_served, queue_for, served

CARDS = {
    "Tesla T4": (15360, ["gpu-16", "gpu-8", "gpu", "any"]),
    "A10": (23028, ["gpu-24", "gpu-16", "gpu-8", "gpu", "any"]),
    "A100 40 GB": (40960, ["gpu-24", "gpu-16", "gpu-8", "gpu", "any"]),
    "H100 80 GB": (81559, ["gpu-80", "gpu-48", "gpu-24", "gpu-16", "gpu-8", "gpu", "any"]),
    "H100 NVL": (95830, ["gpu-96", "gpu-80", "gpu-48", "gpu-24", "gpu-16", "gpu-8", "gpu", "any"]),
    "H200": (143771, ["gpu-141", "gpu-96", "gpu-80", "gpu-48", "gpu-24", "gpu-16", "gpu-8", "gpu", "any"]),
    "MIG 1g.5gb": (4864, ["gpu", "any"]),
}
"""MiB as nvidia-smi tells them."""


@pytest.mark.parametrize("card", CARDS)
def test_a_card_serves_the_sizes_on_its_label_and_below(card: str) -> None:
    mebibytes, expected = CARDS[card]
    assert served("cuda:0", mebibytes << 20) == expected


def test_a_processor_serves_no_job_that_needs_a_gpu_and_a_gpu_none_that_needs_a_processor() -> None:
    assert served("cpu", 512 * GIB) == ["cpu", "any"]
    assert "cpu" not in served("MIG-1f2e", 512 * GIB)


def test_a_gpu_whose_size_is_not_known_gets_no_job_of_a_size() -> None:
    assert served("cuda:0", None) == ["gpu", "any"]


@pytest.mark.parametrize(
    ("device", "gigabytes", "queue"),
    [
        ("any", None, "any"), ("any", 60, "any"), ("cpu", 60, "cpu"), ("gpu", None, "gpu"), ("gpu", 7, "gpu-8"),
        ("gpu", 7.5, "gpu-16"), ("gpu", 14.3, "gpu-16"), ("gpu", 60, "gpu-80"), ("gpu", 100, "gpu-141"),
        ("gpu", 500, "gpu-141"),
    ],
)  # fmt: skip
def test_a_job_waits_in_the_smallest_class_that_holds_its_model(
    device: Device, gigabytes: float | None, queue: str
) -> None:
    assert queue_for(device, None if gigabytes is None else int(gigabytes * GIB)) == queue


def test_no_device_that_serves_a_class_is_smaller_than_what_waits_there() -> None:
    """Given every card size and every need, then a card that serves the job's queue holds its model, up to the largest
    class, above which the worker itself must see that it does not fit."""
    for mebibytes in range(1024, 90_000, 512):
        for need in range(GIB, 72 * GIB, GIB // 2):
            if queue_for("gpu", need) in served("cuda:0", mebibytes << 20):
                assert need <= mebibytes << 20


def test_every_queue_has_a_device_that_serves_it() -> None:
    assert {*served("cpu", None), *served("cuda:0", 141 * GIB)} == set(all_queues())


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({}, (None, None)),
        ({"device": "gpu", "memory_bytes": 5}, ("gpu", 5)),
        ({"device": "tpu", "memory_bytes": -5}, (None, None)),
        ({"device": ["gpu"], "memory_bytes": True}, (None, None)),
    ],
)
def test_what_a_manifest_says_wrong_counts_as_not_said(
    manifest: dict[str, object], said: tuple[str | None, int | None]
) -> None:
    assert declared(manifest) == said


@pytest.mark.parametrize("name", ["chest-pneumonia", "gpu-8", "cpu-model-x", "a.b_c"])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_the_queues_of_a_model_have_names_for_the_broker_and_tell_its_name(name: str, device: str) -> None:
    own = own_served(name, device)
    assert own == [f"{'cpu' if device == 'cpu' else 'gpu'}-model-{name}", f"model-{name}"]
    assert {model_of(need) for need in own} == {name}
    assert queue("inference", own[0]) == f"medjobs.inference.{own[0]}"
    assert {model_of(need) for need in all_queues()} == {None}
