"""`train(session)`: a data set of images and a recipe become a generator, measured before anybody may use it.

The validation part chooses the epoch and takes the place of people whom the generator has not seen; the test part is
read once, by the classifiers of TSTR and TRTR. A copy of the data without it gives the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from jobs.errors import DatasetInvalid, InputError
from jobs.training import NewVersion
from models.data.canonical import TEST, TRAIN, VALIDATION, ImageSet, SequenceSet
from models.synthesis import sequence_trainer
from models.synthesis.adversarial import GanTask
from models.synthesis.health import findings
from models.synthesis.networks import Gan
from models.synthesis.recipes import DcganRecipe, SynthesisRecipe
from models.synthesis.sequence_recipes import SequenceGanRecipe
from models.synthesis.version import Trained, described
from models.training.session import Session
from models.training.task import Planned

OWN, BASELINE = "gan", "baseline"
LEAST = 10
"""Training images of each class, and validation images in all, below which nothing can be learnt or measured."""

PER_IMAGE_S, FIXED_S = 0.012, 60.0
"""What measuring takes: for each real and each drawn image, and for the classifiers (seconds on one busy core)."""


@dataclass(frozen=True)
class Parts:
    """The parts of a data set. Validation images that stand in the training part too are left out."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet | None


def train(session: Session) -> NewVersion:
    """Train the recipe's GAN and the simple one beside it, and describe the generator. Raises `Stop`."""
    if session.parent is not None:
        raise InputError("A generator is trained from the start: its discriminator is not kept. Leave parent out.")
    if isinstance(session.recipe, SequenceGanRecipe) and isinstance(session.data, SequenceSet):
        return sequence_trainer.train(session)
    if not isinstance(session.recipe, SynthesisRecipe) or not isinstance(session.data, ImageSet):
        raise InputError("The recipe sequence-gan draws patients from a data set of sequences, all others draw images.")
    recipe = session.recipe
    parts = parted(session.data)
    fits = planned(recipe, parts)
    session.plan(fits, PER_IMAGE_S * (len(parts.train) + recipe.checked) + FIXED_S if session.minutes else None)
    gans = {label: cast(Gan, session.fit(label, one.task, one.epochs)) for label, one in fits.items()}
    said = findings(session.curves.as_json(), OWN)
    for sentence in said:
        session.work.log(sentence)
    trained = Trained(parts.train, parts.validation, parts.test, gans[OWN], gans.get(BASELINE), said)
    return described(session, recipe, trained)


def planned(recipe: SynthesisRecipe, parts: Parts) -> dict[str, Planned]:
    """The fits by label. Either network of a GAN sees every image in an epoch of the recipe: two of the loop."""
    tasks: dict[str, SynthesisRecipe] = {OWN: recipe}
    if recipe.architecture != "dcgan-basic":
        tasks[BASELINE] = DcganRecipe(epochs=recipe.baseline_epochs, batch=recipe.batch)
    return {label: Planned(GanTask(parts.train, parts.validation, of), 2 * of.epochs) for label, of in tasks.items()}


def parted(data: ImageSet) -> Parts:
    """The parts; raises `DatasetInvalid` where there is too little to learn from."""
    train, validation, test = (data.take(data.part(which)) for which in (TRAIN, VALIDATION, TEST))
    seen = {image.tobytes() for image in train.images}
    validation = validation.take(np.array([image.tobytes() not in seen for image in validation.images], dtype=bool))
    least = min(int((train.labels == label).sum()) for label in range(len(data.classes)))
    if min(least, len(validation)) < LEAST:
        raise DatasetInvalid(
            f"A generator needs {LEAST} training images of each class and {LEAST} validation images; there are {least} "
            f"of the rarest class and {len(validation)} of the validation part that are not in training too."
        )
    return Parts(train, validation, test if len(test) else None)
