"""The image GANs: shapes, turns, norms, what is changed before the discriminator sees it, and what can go wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jobs.errors import InputError
from models.synthesis.adversarial import GanTask, diversity
from models.synthesis.augment import holed, shifted
from models.synthesis.health import findings
from models.synthesis.networks import Architecture, Gan, halvings
from models.synthesis.recipes import DcganRecipe, SynthesisRecipe
from models.training.state import copied
from models.training.stepping import Stepper
from tests.synthetic_shapes import shapes

DATA = shapes()
TRAIN, VALIDATION = DATA.take(DATA.part(0)), DATA.take(DATA.part(1))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def task(**settings: object) -> GanTask:
    return GanTask(TRAIN, VALIDATION, SynthesisRecipe.model_validate({"width": 4, "noise": 8, "batch": 16, **settings}))


def test_a_side_is_a_small_number_doubled() -> None:
    assert [halvings(side) for side in (16, 20, 24, 28, 32, 64, 128)] == [
        (8, 1), (5, 2), (6, 2), (7, 2), (8, 2), (8, 3), (8, 4),
    ]  # fmt: skip
    for side in (0, 3, 8, 27, 30, 50, 100):
        with pytest.raises(InputError, match="such as 28, 32, 64"):
            halvings(side)


@pytest.mark.parametrize("name", ["sn-gan", "dcgan-basic"])
@pytest.mark.parametrize("side", [28, 64])
def test_what_is_drawn_has_the_size_of_the_data_and_what_is_said_is_one_number(name: str, side: int) -> None:
    gan = Architecture(name, 3, side, 8, 10).build()
    y = torch.tensor([0, 1, 2, 2])
    drawn = gan.generator(torch.randn(4, 10), y)
    assert drawn.shape == (4, 1, side, side)
    assert float(drawn.detach().abs().max()) <= 1
    assert gan.discriminator(drawn, y).shape == (4,)


@pytest.mark.parametrize("recipe", [SynthesisRecipe, DcganRecipe])
def test_each_turn_changes_one_of_the_two_networks_and_leaves_the_other_as_it_was(
    recipe: type[SynthesisRecipe],
) -> None:
    stepper = Stepper(GanTask(TRAIN, VALIDATION, recipe(width=4, noise=8, batch=16)), 0, "gan", "cpu")
    assert isinstance(stepper.network, Gan)

    def weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        parts = (stepper.network.generator, stepper.network.discriminator)
        return tuple(copied(dict(part.named_parameters())) for part in parts)  # type: ignore[return-value]

    for step in range(4):
        before = weights()
        stepper.step(step)
        changed = [
            any(not torch.equal(old[name], new[name]) for name in old)
            for old, new in zip(before, weights(), strict=True)
        ]
        assert changed == [step % 2 == 1, step % 2 == 0]


def test_the_discriminators_kernels_stretch_nothing_by_more_than_one() -> None:
    gan = Architecture("sn-gan", 2, 28, 8, 10).build()
    for _ in range(50):  # each forward pass is one step of the power iteration
        gan.discriminator(torch.zeros(1, 1, 28, 28), torch.tensor([0]))
    normed = [
        module for module in gan.discriminator.modules() if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding)
    ]
    assert len(normed) == 5
    for module in normed:
        largest = np.linalg.svd(module.weight.detach().numpy().reshape(len(module.weight), -1))[1][0]
        assert largest == pytest.approx(1, abs=0.02)


class Linear(nn.Module):
    """A discriminator that says 0.5 times the sum of the pixels: its slope is 0.5 at each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.gain * x.sum(dim=(1, 2, 3))


def test_the_lazy_penalty_is_half_its_weight_times_the_turns_times_the_squared_slope() -> None:
    one = task(r1=0.3, r1_every=4, translation=0, cutout=0)
    gan = one.build()
    assert isinstance(gan, Gan)
    gan.discriminator = Linear()
    gan.eval()
    batch = one.batch(torch.arange(16), torch.Generator().manual_seed(0))

    def added(step: int) -> float:
        return float((one.loss_of(step)(gan, batch) - one.loss_of(2)(gan, batch)).detach())

    assert added(8) == pytest.approx(0.5 * 0.3 * 4 * (0.5**2 * 16 * 16), rel=1e-4)
    assert [added(step) > 1 for step in (0, 4, 6, 16)] == [True, False, False, True]


def test_a_shift_moves_the_image_and_brings_in_black() -> None:
    x = torch.full((64, 1, 8, 8), -1.0)
    x[:, 0, 4, 3] = 1.0
    torch.manual_seed(0)
    moved = shifted(x, 2)
    places = {tuple(int(n) for n in (image[0] > 0).nonzero()[0]) for image in moved}
    assert places <= {(row, column) for row in range(2, 7) for column in range(1, 6)}
    assert len(places) > 15
    assert torch.equal(moved.sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3)))


def test_a_hole_is_a_grey_square() -> None:
    torch.manual_seed(1)
    holes = holed(torch.ones(200, 1, 12, 12), 4)
    sizes = (holes == 0).sum(dim=(1, 2, 3))
    assert int(sizes.max()) == 16
    assert int(sizes.min()) >= 4  # at a corner a quarter of it is inside
    assert set(holes.unique().tolist()) == {0.0, 1.0}


def test_a_generator_that_draws_one_picture_has_no_diversity_and_one_that_draws_real_ones_has_all() -> None:
    assert diversity(VALIDATION.images, VALIDATION.images, VALIDATION.labels) == 1
    same = np.repeat(VALIDATION.images[:1], len(VALIDATION), axis=0)
    assert diversity(same, VALIDATION.images, VALIDATION.labels) == 0


def test_the_figures_after_an_epoch_are_of_the_network_that_was_handed_over() -> None:
    one = task()
    gan = one.build().eval()
    assert isinstance(gan, Gan)
    with torch.no_grad():
        fresh = one.validate(gan)
        gan.generator.leave.weight.zero_()
        flat = one.validate(gan)
    assert flat["diversity"] == 0 < fresh["diversity"]
    assert 0 <= fresh["discriminator_auc"] <= 1
    assert one.picture(gan)[:4] == b"\x89PNG"


def curve(*values: float) -> list[list[float]]:
    return [[10.0 * (n + 1), value] for n, value in enumerate(values)]


def test_a_sound_training_has_no_findings() -> None:
    curves = {
        "gan/diversity": curve(0.0, 0.3, 0.9, 0.9, 0.8, 0.9, 0.9),
        "gan/negative_kid": curve(-9, -5, -2, -1, -1, -0.8, -0.9),
        "gan/discriminator_auc": curve(0.5, 0.52, 0.55, 0.56, 0.6, 0.6, 0.62),
    }
    assert findings(curves, "gan") == []
    assert findings({}, "gan") == []


def test_collapse_divergence_and_memory_are_each_said_with_the_step() -> None:
    curves = {
        "gan/diversity": curve(0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.2, 0.1),
        "gan/negative_kid": curve(-9, -5, -2, -1, -1, -1, -6, -8),
        "gan/discriminator_auc": curve(0.5, 0.6, 0.65, 0.72, 0.9, 0.95, 0.9, 0.9),
    }
    collapse, divergence, memory = findings(curves, "gan")
    assert "from step 70 on" in collapse
    assert "0.10 of the variance" in collapse
    assert "at the end" in collapse
    assert "step 40" in divergence
    assert "88%" in divergence
    assert "from step 40 on" in memory
    assert "0.95" in memory
    assert findings(curves, "baseline") == []
