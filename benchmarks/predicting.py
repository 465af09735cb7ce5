"""`python -m benchmarks.predicting`: patients through the prediction kind, beside the bare networks on the same arrays.

The kind's way is a worker's: JSON text to a checked patient, to arrays, through the ensemble, to the result's entry.
The bare way is the ensemble's networks alone, in PyTorch, on arrays that are ready: no check, no encoding, no trees, no
intervals, nothing said. One process, one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from jobs.predicting import Source
from models.catalogue import catalogue
from models.prediction.examples import icu, liver
from models.prediction.kind import PredictionParams
from models.prediction.predictor import PredictionPredictor, load


def rate(rounds: int, count: int, work: Callable[[], object]) -> str:
    """Patients a second: the median over rounds, with its spread."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append(count / (time.perf_counter() - began))
    return f"{statistics.median(found):9.1f} /s  ({min(found):.1f} to {max(found):.1f})"


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


def main() -> None:
    """Parse the arguments and print a line for each way."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predicting", description=__doc__)
    parser.add_argument("--model", default="icu-mortality", help="name@version (default %(default)s)")
    parser.add_argument("--count", type=int, default=1000, help="patients (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per figure (default %(default)s)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load(catalogue().resolve(chosen.model), "cpu")
    drawn = icu if predictor.contract.unit == "hours" else liver
    texts = [json.dumps(drawn(number)).encode() for number in range(1, chosen.count + 1)]
    ways: dict[str, Callable[[], object]] = {
        "bare networks on ready arrays": bare(predictor, texts),
        "the kind, explain off": lambda: through(predictor, texts, PredictionParams(explain=False)),
        "the kind, explain on, no picture": lambda: through(predictor, texts, PredictionParams(picture=False)),
        "the kind, explain on, picture": lambda: through(predictor, texts, PredictionParams()),
    }
    print(f"{chosen.count} patients, {chosen.model}")
    for words, way in ways.items():
        print(f"  {words:<40} {rate(chosen.rounds, chosen.count, way)}", flush=True)


if __name__ == "__main__":
    main()
