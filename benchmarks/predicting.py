"""`python -m benchmarks.predicting`: patients through the prediction kind, beside the bare networks on the same arrays.

The kind's way is a worker's: JSON text to a checked patient, to arrays, through the ensemble, to the result's entry.
The bare way is the ensemble's networks alone, in PyTorch, on arrays that are ready: no check, no encoding, no trees, no
intervals, nothing said. One process, one thread. Then the same patients as one file and one job through the whole
embedded stack, from the submit to the commit of the result (the upload is not counted).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from benchmarks import rates, stack
from jobs.predicting import Source
from medjobs.client import Client
from models.catalogue import catalogue
from models.prediction.examples import icu, liver
from models.prediction.kind import PredictionParams
from models.prediction.predictor import PredictionPredictor, load

Ways = dict[str, dict[str, bool]]

WAYS: Ways = {
    "explain off": {"explain": False},
    "explain on, no picture": {"picture": False},
    "explain on, picture": {},
}
"""What is asked for, and the params that ask for it."""


def show(words: str, found: Sequence[float], base: Sequence[float] | None = None) -> None:
    """A line: patients a second, the median over rounds with its spread, and the ratio to the median of `base`."""
    middle = statistics.median(found)
    ratio = f"  = {middle / statistics.median(base):.3f} of bare" if base else ""
    print(f"  {words:<52} {middle:8.1f} /s  ({min(found):.1f} to {max(found):.1f}){ratio}", flush=True)


def timed(rounds: int, count: int, work: Callable[[], object]) -> list[float]:
    """Patients a second in each round."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append(count / (time.perf_counter() - began))
    return found


def through(predictor: PredictionPredictor, texts: Sequence[bytes], params: PredictionParams) -> None:
    """Decode, predict in the kind's largest batches, encode."""
    for first in range(0, len(texts), predictor.max_batch):
        decoded = [predictor.decode(Source(data=text), params) for text in texts[first : first + predictor.max_batch]]
        outputs = predictor.predict(decoded)
        for position, (one, output) in enumerate(zip(decoded, outputs, strict=True), start=first):
            predictor.encode(one, output, position)


def bare(predictor: PredictionPredictor, texts: Sequence[bytes]) -> Callable[[], None]:
    """The networks' forward pass over the same patients, encoded beforehand."""
    decoded = [predictor.decode(Source(data=text), PredictionParams()) for text in texts]
    size = predictor.max_batch
    encode = predictor.ensemble.encoder.encode
    batches = [encode([one.patient for one in decoded[at : at + size]]) for at in range(0, len(decoded), size)]

    def forward() -> None:
        with torch.inference_mode():
            for batch in batches:
                predictor.ensemble.logit(batch)

    return forward


def through_stack(
    client: Client, texts: Sequence[bytes], model: str, rounds: int, base: Sequence[float], ways: Ways
) -> None:
    """One job of all the patients, several times for each way; a first one, not counted, loads the model."""
    file = client.upload(b"\n".join(texts))
    one = client.submit("prediction", client.upload(texts[0]), model=model).wait()
    if one.state != "succeeded":
        raise RuntimeError(f"the job that loads the model ended as {one.state}")
    for words, params in ways.items():
        found = []
        for number in range(rounds):
            label = f"{words}-{number}".replace(" ", "-").replace(",", "")
            jobs = rates.submitted(client, "prediction", [[file]], label, model=model, params=params)
            found.append(jobs * len(texts))
            (job,) = client.jobs(labels={"run": label})
            if any("risks" not in item for item in job.result().items):
                raise RuntimeError("a patient has no risk")
        show(f"one job through the stack, {words}", found, base)


def main() -> None:
    """Parse the arguments and print a line for each way."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predicting", description=__doc__)
    parser.add_argument("--model", default="icu-mortality", help="name@version (default %(default)s)")
    parser.add_argument("--count", type=int, default=1000, help="patients (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per figure (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="without explanations, which take most of the time")
    chosen = parser.parse_args()
    ways = {words: params for words, params in WAYS.items() if not (chosen.quick and params.get("explain", True))}
    torch.set_num_threads(1)
    predictor = load(catalogue().resolve(chosen.model), "cpu")
    drawn = icu if predictor.contract.unit == "hours" else liver
    texts = [json.dumps(drawn(number)).encode() for number in range(1, chosen.count + 1)]
    print(f"{chosen.count} patients, {chosen.model}")
    base = timed(chosen.rounds, chosen.count, bare(predictor, texts))
    show("bare networks on ready arrays", base)
    for words, params in ways.items():
        work = partial(through, predictor, texts, PredictionParams.model_validate(params))
        show(f"the kind in process, {words}", timed(chosen.rounds, chosen.count, work), base)
    with stack.running() as (client, _, _):
        through_stack(client, texts, chosen.model, chosen.rounds, base, ways)


if __name__ == "__main__":
    main()
