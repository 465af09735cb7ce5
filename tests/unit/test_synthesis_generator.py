"""The shipped generator: the same pictures whatever is asked beside them, weights that are checked, no copies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.synthesis.generator import LABELS, WEIGHTS, generate, load
from models.synthesis.nearness import compare, nearest


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products are slower on several threads than on one, far slower beside other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_equal_seeds_give_equal_pictures_and_others_do_not() -> None:
    first = generate(3, 1, 5)
    assert first.shape == (3, 28, 28)
    assert first.dtype == np.uint8
    assert np.array_equal(first, generate(3, 1, 5))
    assert not np.array_equal(first, generate(3, 1, 6))
    assert not np.array_equal(first, generate(3, 0, 5))


def test_a_picture_does_not_depend_on_how_many_are_asked_for() -> None:
    many = generate(70, 0, 9)  # more than one batch of the integration
    assert np.array_equal(many[:1], generate(1, 0, 9))
    assert np.array_equal(many[:66], generate(66, 0, 9))
    assert len(np.unique(many, axis=0)) == 70


def test_none_asked_for_is_an_empty_array_of_the_right_shape() -> None:
    assert generate(0, 0, 0).shape == (0, 28, 28)


@pytest.mark.parametrize(("count", "label", "seed"), [(1, 2, 0), (1, -1, 0), (-1, 0, 0), (1, 0, -1)])
def test_what_the_generator_does_not_know_is_refused(count: int, label: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"label is|must not be negative"):
        generate(count, label, seed)


def test_pneumonia_is_drawn_with_whiter_lungs_than_normal() -> None:
    """Consolidation is what the classes differ by: the darkest tenth of a picture, the lungs, is brighter with it."""
    lungs = [np.quantile(generate(48, label, 11).reshape(48, -1), 0.1, axis=1).mean() for label in range(len(LABELS))]
    assert lungs[1] > lungs[0] + 3


def test_the_shipped_weights_are_small_and_named_by_their_card() -> None:
    card = json.loads((WEIGHTS / "card.json").read_text())
    size = (WEIGHTS / card["weights"]["file"]).stat().st_size
    assert size == card["weights"]["bytes"] < 2_000_000
    assert card["data"]["licence"] == "CC BY 4.0"
    assert card["figures"]["passed"] is True


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(WEIGHTS, folder)
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="differ from the sha256"):
        load(folder)


def _pictures(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def test_distances_are_those_of_the_definition() -> None:
    some, others = _pictures(5, 0), _pictures(300, 1)
    expected = [np.sqrt(((others.astype(float) - one) ** 2).mean(axis=(1, 2)).min()) for one in some]
    assert nearest(some, others) == pytest.approx(expected)


def test_a_generator_that_copies_is_caught() -> None:
    training, held_out, fresh = _pictures(200, 0), _pictures(100, 1), _pictures(100, 2)
    assert compare(fresh, held_out, training).passed
    copying = fresh.copy()
    copying[3] = training[17]
    assert not compare(copying, held_out, training).passed
    almost = np.clip(training[:100].astype(int) + 2, 0, 255).astype(np.uint8)
    assert not compare(almost, held_out, training).passed
