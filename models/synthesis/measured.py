"""The figures of a trained generator: quality, usefulness, privacy, and the gate's verdict on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.canonical import ImageSet
from models.diagnosis.networks import normalise
from models.synthesis.drawing import Generator
from models.synthesis.encoder import shipped
from models.synthesis.gate import Limits, judge
from models.synthesis.networks import Gan
from models.synthesis.part import Part
from models.synthesis.privacy import Audited, Privacy, privacy
from models.synthesis.quality import Quality, quality
from models.synthesis.usefulness import Usefulness, usefulness

CHECK_SEED = 1_000_003
"""Of the pictures that are measured: a series that nobody is likely to ask for."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Against:
    """The real images: trained on, not seen, and of the test part (None: there is none, and validation stands in)."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet | None
    positive: int


def drawn(generator: Generator, labels: NDArray[np.int64], count: int) -> Part:
    """`count` pictures of classes in the proportions of `labels` (N,), in a random order that is always the same."""
    shares = np.bincount(labels, minlength=len(generator.classes)) / len(labels)
    wanted = np.repeat(np.arange(len(shares)), np.floor(shares * count + 0.5).astype(int)).astype(np.int64)
    wanted = np.random.default_rng(CHECK_SEED).permutation(wanted)
    return Part(generator.draw(wanted.tolist(), range(len(wanted)), CHECK_SEED), wanted)


def measured(generator: Generator, gan: Gan, real: Against, count: int, epochs: float, seed: int,
             say: Say, step: Callable[[], None]) -> dict[str, Any]:  # fmt: skip
    """`quality`, `usefulness`, `privacy`, `gate` as a manifest keeps them; null where there were too few images.

    `say` is told what is being done and may raise; `step` is called often and may raise.
    """
    say("drawing")
    made = drawn(generator, real.train.labels, count)
    say("quality")
    good = _quality(made, real.train, seed)
    say("usefulness: classifiers on drawn and on real images")
    useful = _usefulness(generator, real, epochs, step)
    say("privacy: attacks")
    private = _privacy(made, gan, real, seed)
    coverage = None if good is None else good.generated.coverage.coverage
    drop = None if useful is None else useful.drop.value
    limits = Limits()
    return {
        "quality": None if good is None else plain(good),
        "usefulness": None
        if useful is None
        else {**plain(useful), "part": "validation" if real.test is None else "test"},
        "privacy": plain(private),
        "gate": {"limits": limits.model_dump(), **judge(limits, coverage, drop, private).as_dict()},
    }


def simple(generator: Generator, real: Against, count: int, seed: int) -> dict[str, float]:
    """The figures of the simple baseline that stand beside the model's own."""
    good = _quality(drawn(generator, real.train.labels, count), real.train, seed)
    return {} if good is None else values(plain(good))


def values(of: Mapping[str, Any]) -> dict[str, float]:
    """A sample's figures from a manifest's `quality`, by the names under which they are listed."""
    one = of["generated"]
    return {
        "coverage": round(one["coverage"]["coverage"], 4),
        "density": round(one["coverage"]["density"], 4),
        "kid": round(one["kid"]["value"], 4),
        "radiomic_distance": round(one["radiomic"], 4),
    }


def plain(figures: Any) -> dict[str, Any]:
    """Nested dataclasses as JSON; keys are text."""
    return {str(key): _plain(value) for key, value in asdict(figures).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _part(of: ImageSet) -> Part:
    return Part(of.images, of.labels)


def _quality(made: Part, train: ImageSet, seed: int) -> Quality | None:
    try:
        return quality(made, _part(train), shipped(), seed)
    except ValueError:
        return None


def _usefulness(generator: Generator, real: Against, epochs: float, step: Callable[[], None]) -> Usefulness | None:
    """The classifiers see as many drawn images as real ones, of the same classes."""
    test = real.validation if real.test is None else real.test
    if len(np.unique(test.labels == real.positive)) < 2:
        return None
    made = drawn(generator, real.train.labels, len(real.train))
    return usefulness(made, _part(real.train), _part(test), real.positive, epochs=epochs, step=step)


def _privacy(made: Part, gan: Gan, real: Against, seed: int) -> Privacy:
    """Members are training images, others and reference the two halves of the validation part."""
    random = np.random.default_rng(seed)
    half = len(real.validation) // 2
    unseen = random.permutation(len(real.validation))
    members = real.train.take(random.permutation(len(real.train))[: min(half, len(real.train))])
    others, reference = real.validation.take(unseen[: len(members)]), real.validation.take(unseen[half:])
    flat = [_flat(one.images) for one in (members, others, reference, real.train)]
    losses = {"discriminator": (_said(gan, members), _said(gan, others))}
    return privacy(_flat(made.images), Audited(flat[0], flat[1], flat[2]), losses, seed, flat[3])


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return images.reshape(len(images), -1).astype(np.float64)


@torch.no_grad()
def _said(gan: Gan, of: ImageSet) -> NDArray[np.float64]:
    """What the discriminator, which is not part of the version, says of real images: (N,), high for known ones."""
    logits = gan.discriminator(normalise(of.images), torch.from_numpy(of.labels))
    found: NDArray[np.float64] = logits.double().numpy()
    return found
