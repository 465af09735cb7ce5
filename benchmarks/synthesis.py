"""`python -m benchmarks.synthesis figures|augment [--data pneumoniamnist.npz]`: what the shipped generator is worth.

figures: the tables that stand with the version, and the same measured again on another series of pictures: quality
beside real images, TSTR beside TRTR, attacks beside a memoriser. (The discriminator's opinion is not among them: it is
not kept.)

augment: cnn-basic on 5, 10, 25 and 100 % of the real training images, four ways: as they are, with the usual changes
(shift, turn, zoom, brightness, contrast), with virtual images (`--ratio` for each real one), and with both. Paired: a
seed draws the same real images and the same first weights each way, and all take the same number of steps. The
generator has seen the whole training part. So below 100 % the virtual images also carry what was left out, and the gain
there is what a hospital would have that shares a generator and no images.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.cases import Cases
from models.data.canonical import TEST, TRAIN, VALIDATION, ImageSet, ordered
from models.data.formats.medmnist import read
from models.data.options import MedmnistOptions
from models.diagnosis.evaluate import look
from models.diagnosis.fitting import ImageTask
from models.diagnosis.networks import CnnBasic
from models.diagnosis.recipes import Augmentation, Simple
from models.synthesis import tables
from models.synthesis.drawing import load
from models.synthesis.encoder import shipped as shipped_encoder
from models.synthesis.examples import shipped
from models.synthesis.interval import Interval
from models.synthesis.mixing import joined
from models.synthesis.part import Part
from models.synthesis.privacy import Audited, attacked, memorised, nearness
from models.synthesis.quality import quality
from models.synthesis.usefulness import usefulness
from models.training.stepping import Stepper

FRACTIONS = (0.05, 0.10, 0.25, 1.0)
WAYS = {"plain": "as they are", "usual": "usual augmentation", "virtual": "virtual images", "both": "both"}
VIRTUAL, USUAL = ("virtual images", "both"), "usual augmentation"
AGAIN = 77
"""Seed of the pictures that are measured again, and of the intervals."""

RESAMPLES = 2000

Floats = NDArray[np.float64]


def main() -> None:
    """Print the tables."""
    default = Path(os.environ.get("MEDJOBS_TEST_DATA", "../shared/data")) / "imaging" / "pneumoniamnist.npz"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthesis", description=__doc__)
    parser.add_argument("what", choices=("figures", "augment"))
    parser.add_argument("--data", type=Path, default=default, help="pneumoniamnist.npz (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="steps of each classifier (default %(default)s)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="which of them (default all)")
    parser.add_argument("--ratio", type=float, default=1.0, help="virtual images per real one (default %(default)s)")
    parser.add_argument("--count", type=int, default=2000, help="pictures measured again (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="JSON file of what the classifiers said, which are not trained again")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    options = MedmnistOptions(classes=("normal", "pneumonia"), positive="pneumonia")
    data = ordered(read([chosen.data], options))
    if chosen.what == "figures":
        figures(data, chosen.count, chosen.seeds)
    else:
        ways = [WAYS[name] for name in WAYS if name in {*chosen.ways, "usual"}]
        augment(data, ways, chosen.seeds, Arms(chosen.steps, chosen.ratio, chosen.keep))


def figures(data: ImageSet, count: int, seeds: int) -> None:
    """Print the version's tables, and the figures of another series of pictures."""
    version = shipped()
    manifest = version.manifest
    print(f"{version.name}@{version.version}, as measured when it was trained. {tables.verdict(manifest)}")
    for head, rows in (
        (tables.QUALITY_HEAD, tables.quality(manifest)),
        (tables.USE_HEAD, tables.usefulness(manifest)),
        (tables.PRIVACY_HEAD, tables.privacy(manifest)),
    ):
        print()
        for row in (head, *rows):
            print("  " + "".join(f"{cell:<40}" if n == 0 else f"{cell:<26}" for n, cell in enumerate(row)).rstrip())
    train, validation, test = (data.take(data.part(which)) for which in (TRAIN, VALIDATION, TEST))
    print(f"\nmeasured again, on {count} pictures of seed {AGAIN}:")
    made = series(train.labels, count)
    found = quality(made, Part(train.images, train.labels), shipped_encoder())
    for name, one in (("drawn", found.generated), ("real (floor)", found.floor)):
        print(
            f"  {name:<14} coverage {one.coverage.coverage:.3f}  density {one.coverage.density:.3f}  "
            f"KID {one.kid.value:.3f} (+- {one.kid.spread:.3f})  radiomic {one.radiomic:.3f}  n {one.n}"
        )
    useful = usefulness(
        series(train.labels, len(train)), Part(train.images, train.labels), Part(test.images, test.labels),
        seeds=range(seeds),
    )  # fmt: skip
    print(f"  TSTR {useful.tstr}  TRTR {useful.trtr}  drop {useful.drop}  seeds {useful.seeds}")
    attacks(made, train, validation)


def attacks(made: Part, train: ImageSet, validation: ImageSet) -> None:
    """Print the black-box attacks on the pictures, and on a memoriser of as many."""
    seen = {image.tobytes() for image in train.images}
    fresh = flat(np.stack([image for image in validation.images if image.tobytes() not in seen]))
    half = len(fresh) // 2
    random = np.random.default_rng(AGAIN)
    fresh, known = random.permutation(fresh), flat(train.images)
    real = Audited(random.permutation(known)[:half], fresh[:half], fresh[half:])
    drawn = flat(made.images)
    for name, cases in (("drawn", drawn), ("memoriser", memorised(known, len(drawn)))):
        for attack, one in attacked(cases, real).items():
            print(f"  {name:<10} {attack:<15} AUC {one.auc}  found at 1 % FPR {one.tpr_at_1_fpr}  n {one.n}")
        print(f"  {name:<10} nearness        {nearness(cases, real)}")


def series(labels: NDArray[np.int64], count: int) -> Part:
    """`count` pictures in the proportions of `labels` (N,)."""
    generator = load(shipped())
    wanted = np.random.default_rng(AGAIN).choice(labels, count, replace=count > len(labels))
    return Part(generator.draw(wanted.tolist(), range(count), AGAIN), wanted)


def flat(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, H, W) -> (N, H * W)."""
    return images.reshape(len(images), -1).astype(np.float64)


@dataclass
class Arms:
    """How each classifier is trained, and where its answers are kept."""

    steps: int
    ratio: float
    keep: Path | None = None

    def margins(self, data: ImageSet, fraction: float, way: str, seed: int) -> Floats:
        """What one classifier, trained or remembered, says of each test image, (N,)."""
        known = json.loads(self.keep.read_text()) if self.keep is not None and self.keep.exists() else {}
        virtual = [self.ratio] if way in VIRTUAL else []
        name = " ".join(map(str, (fraction, way, seed, self.steps, *virtual)))
        if name not in known:
            known[name] = trained(data, fraction, way, self.ratio, self.steps, seed).round(6).tolist()
            if self.keep is not None:
                self.keep.write_text(json.dumps(known))
        return np.array(known[name])


def augment(data: ImageSet, ways: list[str], seeds: int, arms: Arms) -> None:
    """Print the AUC of each way at each fraction, and the paired differences from the usual augmentation."""
    y = (data.take(data.part(TEST)).labels == 1).astype(np.float64)
    print(f"AUC on {len(y)} test images; cnn-basic, {arms.steps} steps, ratio {arms.ratio:g}", flush=True)
    said: dict[float, list[list[Floats]]] = {fraction: [] for fraction in FRACTIONS}
    for seed in range(seeds):
        for fraction, of in said.items():
            of.append([arms.margins(data, fraction, way, seed) for way in ways])
            aucs = (f"{cases(y, one).figure('auc')[0]:.4f}" for one in of[-1])
            print(f"  seed {seed}, {fraction:.0%}: " + "  ".join(aucs), flush=True)
    print(f"mean of {seeds} seeds\n{'real images':<14}" + "".join(f"{way:<20}" for way in ways))
    for fraction, of in said.items():
        means = np.mean([[cases(y, one).figure("auc")[0] for one in row] for row in of], axis=0)
        print(f"{fraction:<14.0%}" + "".join(f"{mean:<20.4f}" for mean in means))
    print("differences from the usual augmentation, paired: 95 % interval over seeds and test images, each seed")
    for way in (way for way in ways if way in VIRTUAL):
        for fraction, of in said.items():
            pairs = [(row[ways.index(way)], row[ways.index(USUAL)]) for row in of]
            gain, each = difference(y, pairs)
            shown = ", ".join(f"{one:+.4f}" for one in each)
            print(f"  {way:<16}{fraction:<6.0%}{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})  {shown}")


def difference(y: Floats, pairs: list[tuple[Floats, Floats]]) -> tuple[Interval, Floats]:
    """The mean over the seeds of the first's AUC less the second's, and each seed's (S,).

    The interval draws the seeds and, once for all of them, the test images again.
    """
    random = np.random.default_rng(AGAIN)
    drawn = cases(y, pairs[0][0]).resamples(random, RESAMPLES)  # (R, N)
    seeds = random.integers(len(pairs), size=(RESAMPLES, len(pairs)))  # (R, S)
    each = np.array([cases(y, a).figure("auc")[0] - cases(y, b).figure("auc")[0] for a, b in pairs])
    again = np.stack([cases(y, a).figure("auc", drawn) - cases(y, b).figure("auc", drawn) for a, b in pairs], axis=1)
    return Interval.of(each.mean(), np.take_along_axis(again, seeds, axis=1).mean(axis=1)), each


def cases(y: Floats, score: Floats) -> Cases:
    """Test images with their truth and a score (N,) each."""
    return Cases(np.arange(len(y), dtype=np.uint64), {"y": y, "p": score}, {})


def part_of(train: ImageSet, fraction: float, seed: int) -> ImageSet:
    """A fraction of the real images of each class, drawn by the seed."""
    random = np.random.default_rng(seed)
    chosen = [
        random.permutation(np.flatnonzero(train.labels == label))[: round(fraction * (train.labels == label).sum())]
        for label in range(len(train.classes))
    ]
    return train.take(np.sort(np.concatenate(chosen)))


def trained(data: ImageSet, fraction: float, way: str, ratio: float, steps: int, seed: int) -> Floats:
    """Train one classifier one way; its margins on the test part, (N,)."""
    train, validation, test = (data.take(data.part(which)) for which in (TRAIN, VALIDATION, TEST))
    some = part_of(train, fraction, seed)
    if way in VIRTUAL:
        labels = np.sort(np.random.default_rng(seed).choice(some.labels, round(ratio * len(some))))
        some = joined(some, load(shipped()).draw(labels.tolist(), range(len(labels)), seed), labels)
    usual = Augmentation() if way in (USUAL, "both") else None
    stepper = Stepper(ImageTask(some, validation, Simple(augmentation=usual), 1), seed, "network", "cpu")
    for step in range(steps):
        stepper.step(step)
    network = stepper.network.eval()
    assert isinstance(network, CnnBasic)
    logits = look(network, test.images).logits
    margins: Floats = logits[:, 1] - logits[:, 0]
    return margins


if __name__ == "__main__":
    main()
