"""Print every rate and latency beside the simple alternative, in one run: `make bench` (about ten minutes)."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import bare, files, plain_celery, rates, stack
from medjobs.client import Client
from models.catalogue import catalogue
from models.diagnosis.weights import load_network
from tests.services.redis import RedisServer

EXPLAIN_OFF = {"params": {"explain": False}}


def show(what: str, figure: str) -> None:
    """One line of the table, at once."""
    print(f"  {what:<62} {figure}", flush=True)


def median_of(rounds: int, measure: Callable[[int], float]) -> tuple[float, str]:
    """The median over rounds, and it with its spread as text."""
    found = sorted(measure(number) for number in range(rounds))
    middle = statistics.median(found)
    return middle, f"{middle:8.1f} /s  ({found[0]:.1f} to {found[-1]:.1f})"


def small_images(client: Client, folder: Path, count: int, rounds: int) -> None:
    """28 px, the shipped ResNet-18: one image a job, and 50."""
    network = load_network(catalogue().resolve("chest-pneumonia")).eval()
    paths = files.make(folder, count, 28)
    ids = rates.uploaded(client, paths)
    print("28 px, ResNet-18, explanation off")
    for batch in (1, 8, 32, 128):
        for threads in (1, 2):
            show(
                f"in process, batch {batch}, {threads} thread(s)",
                f"{bare.rate(network, paths[:512], 28, batch=batch, threads=threads):8.1f} /s",
            )
    show("in process, batch 32, 1 thread, bf16", f"{bare.rate(network, paths[:512], 28, bf16=True):8.1f} /s")
    base, text = median_of(rounds, lambda _: bare.rate(network, paths, 28))
    show("in process, batch 32, 1 thread: the base", text)
    one = [[i] for i in ids]
    many = [ids[at : at + 50] for at in range(0, count, 50)]
    reached, text = median_of(rounds, lambda n: rates.submitted(client, "diagnosis", one, f"one-{n}", **EXPLAIN_OFF))
    show("medjobs, one image a job", f"{text}  = {reached / base:.2f} of the base")
    jobs, _ = median_of(rounds, lambda n: rates.submitted(client, "diagnosis", many, f"many-{n}", **EXPLAIN_OFF))
    images = jobs * count / len(many)
    show("medjobs, 50 images a job", f"{images:8.1f} images/s  = {images / base:.2f} of the base")
    alone = [1 / bare.rate(network, [path], 28, batch=1) for path in paths[:200]]
    waited = rates.idle(client, "diagnosis", ids[:200], **EXPLAIN_OFF)
    show("idle, bare model", rates.percentiles(alone))
    show("idle, submit to result", rates.percentiles(waited))


def large_images(client: Client, folder: Path, count: int, rounds: int) -> None:
    """224 px, DenseNet-121 with random weights: one image a job."""
    sys.path.insert(0, str(stack.KINDS))
    from medjobs_bench.predictors import densenet121

    network = densenet121()
    paths = files.make(folder, count, 224)
    ids = rates.uploaded(client, paths)
    print("224 px, DenseNet-121, fp32")
    show("in process, batch 32, 1 thread, bf16", f"{bare.rate(network, paths[:64], 224, bf16=True):8.1f} /s")
    base, text = median_of(rounds, lambda _: bare.rate(network, paths, 224))
    show("in process, batch 32, 1 thread: the base", text)
    inputs = [[i] for i in ids]
    rates.submitted(client, "bench-densenet121", inputs[:32], "dense-warm-up")
    reached, text = median_of(rounds, lambda n: rates.submitted(client, "bench-densenet121", inputs, f"dense-{n}"))
    show("medjobs, one image a job", f"{text}  = {reached / base:.2f} of the base")


def nothing(client: Client, token: str, count: int, rounds: int) -> None:
    """Jobs that do nothing, beside plain Celery; submits alone; submits under a crowd."""
    print("Jobs that do nothing")
    inputs = [[{"data": {"number": n}}] for n in range(count)]
    rates.submitted(client, "bench-noop", inputs[:100], "noop-warm-up")
    redis = RedisServer()
    try:
        plain, text = median_of(rounds, lambda _: plain_celery.rate(redis.url, count, 8))
    finally:
        redis.stop()
    show("plain Celery, Redis results, threads pool", text)
    reached, text = median_of(rounds, lambda n: rates.submitted(client, "bench-noop", inputs, f"noop-{n}"))
    show("medjobs", f"{text}  = {reached / plain:.2f} of plain Celery")
    alone = rates.knocking(client, token, 0, 0, 300)
    show("submit, nobody else there", f"{rates.percentiles(alone)}   {len(alone) / sum(alone):6.1f} /s")
    crowd = rates.knocking(client, token, 200, 50, 300)
    show("submit, 200 callers with ?wait=30 and 50 streams knocking", rates.percentiles(crowd))


def main() -> None:
    """Parse the arguments and run the parts one after the other on one stack."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--count", type=int, default=3000, help="28 px images (default %(default)s)")
    parser.add_argument("--large", type=int, default=192, help="224 px images (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per figure (default %(default)s)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, stack.running() as (client, token, up):
        folder = Path(name)
        time.sleep(10.0)  # until the workers have loaded their models
        show("idle stack, memory (PSS of all processes)", f"{stack.memory(up):8.2f} GiB")
        small_images(client, folder / "small", chosen.count, chosen.rounds)
        large_images(client, folder / "large", chosen.large, chosen.rounds)
        nothing(client, token, chosen.count, chosen.rounds)


if __name__ == "__main__":
    main()
