"""`python -m models.synthesis.make --data pneumoniamnist.npz`: train the shipped generator again and write its card."""

from __future__ import annotations

import argparse
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.data.medmnist import DataSet, Images, read, shared_with
from models.synthesis.fitting import FlowRecipe, Progress, train_flow
from models.synthesis.generator import LABELS, STEPS, WEIGHTS, ChestGenerator, from_flow, save
from models.synthesis.nearness import compare

SEED = 0
_CHECKED = 500
"""Pictures of each class that the figures of the card are taken from; their seed is one that no example uses."""
_CHECK_SEED = 1000


def main(arguments: list[str] | None = None) -> None:
    """Train on the training part, measure against images held out, and write weights and card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="pneumoniamnist.npz of MedMNIST v2")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder to write (default: the shipped one)")
    parser.add_argument("--steps", type=int, default=FlowRecipe.steps, help="training steps (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: %(default)s, as shipped)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    data, recipe = read(chosen.data), replace(FlowRecipe(), steps=chosen.steps)
    flow = train_flow(data.train, len(LABELS), recipe, SEED, _say)
    card = describe(data, from_flow(flow))
    save(chosen.out, flow, recipe, card)
    print(f"wrote {chosen.out}: {card['figures']}")


def _say(progress: Progress) -> None:
    """Print one line of progress."""
    print(f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}  {progress.eta:.0f} s left", flush=True)


def describe(data: DataSet, generator: ChestGenerator) -> dict[str, Any]:
    """Return the card: what the model is, on what it was trained, and what was measured."""
    made = np.concatenate([generator.generate(_CHECKED, label, _CHECK_SEED) for label in range(len(LABELS))])
    held_out, name = _held_out(data)
    nearness = compare(made, held_out, data.train.images)
    return {
        "name": "chest-flow",
        "summary": "Class-conditional flow matching on principal components; draws 28 x 28 chest pictures.",
        "use": "Pictures for demonstrations and tests. Not for diagnosis, nor to train or to judge a diagnostic model.",
        "labels": list(LABELS),
        "data": {
            "name": data.name,
            "part": f"train ({len(data.train)} images); {name} ({len(held_out)}) for the figures alone",
            "fingerprint": data.fingerprint,
            "source": "MedMNIST v2 (Yang et al., Scientific Data 2023), from Kermany et al., Cell 2018",
            "licence": "CC BY 4.0",
        },
        "seed": SEED,
        "integration_steps": STEPS,
        "figures": {"unit": "root mean square grey values (0-255)", **asdict(nearness), "passed": nearness.passed},
        "environment": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def _held_out(data: DataSet) -> tuple[Images, str]:
    """Return real images that the generator has not seen, (N, H, W), and the name of the part that they are from.

    The test part is of other patients. The validation part is of the same ones and holds exact copies of training
    images, so it is a weaker measure, taken without the copies where a file has no test part.
    """
    if data.test is not None:
        return data.test.images, "test"
    return data.validation.take(~shared_with(data.validation, data.train)).images, "validation without copies"


if __name__ == "__main__":
    main()
