"""What may be asked for: the parameters of a training are checked against the kind that is to be trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.references import references
from models.training.kind import KIND, TrainingParams
from tests.training_toy import ToyRecipe, installed


@pytest.fixture(autouse=True)
def _toy(tmp_path: Path) -> Iterator[None]:
    with installed(tmp_path):
        yield


def params(**given: Any) -> TrainingParams:
    return TrainingParams.model_validate({"kind": "toy-fit", "dataset": "mine", **given})


def refusal(**given: Any) -> tuple[tuple[Any, ...], str]:
    with pytest.raises(ValidationError) as refused:
        params(**given)
    (error,) = refused.value.errors()
    return error["loc"], error["msg"]


def test_without_further_words_the_first_recipe_with_its_defaults_is_meant() -> None:
    found = params()
    assert (found.recipe, found.settings(), found.devices) == ("plain", ToyRecipe(), 1)
    assert found.makes() == ("mine", "toy-fit")
    assert references(TrainingParams) == {"dataset": "dataset", "parent": "version", "augment_with": "version"}


def test_overrides_change_the_recipe() -> None:
    found = params(overrides={"epochs": 2, "ema": 0.5}, name="better", recipe="plain")
    assert found.settings() == ToyRecipe(epochs=2, ema=0.5)
    assert found.makes() == ("better", "toy-fit")


@pytest.mark.parametrize(
    ("given", "where", "says"),
    [
        ({"kind": "no-such-kind"}, ("kind",), "toy-fit"),
        ({"kind": "dataset"}, ("kind",), "choose one of"),
        ({"recipe": "none"}, ("recipe",), "plain, other"),
        ({"overrides": {"epochs": -1}}, ("overrides",), "epochs: Input should be greater than 0"),
        ({"overrides": {"nonsense": 1}}, ("overrides",), "nonsense: Extra inputs are not permitted"),
        ({"recipe": "other", "overrides": {"epochs": 3}}, ("overrides",), "epochs"),
        ({"minutes": 0}, ("minutes",), "greater than 0"),
        ({"minutes": 1441}, ("minutes",), "less than or equal to 1440"),
        ({"devices": 0}, ("devices",), "greater than or equal to 1"),
        ({"name": "../up"}, ("name",), "pattern"),
        ({"dataset": ""}, ("dataset",), "pattern"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(given: dict[str, Any], where: tuple[str, ...], says: str) -> None:
    loc, message = refusal(**given)
    assert loc == where
    assert says in message


def test_a_data_set_of_another_form_and_a_parent_of_another_kind_are_refused() -> None:
    found = params(parent="old@1")
    images, sequences = {"format": "medmnist"}, {"format": "pbc2"}
    toy, other = SimpleNamespace(kind="toy-fit"), SimpleNamespace(kind="diagnosis")
    assert found.check_references({"dataset": images}, {"parent": toy}) == []
    ((field, says),) = found.check_references({"dataset": sequences}, {"parent": toy})
    assert field == "dataset"
    assert "images" in says
    assert [field for field, _ in found.check_references({"dataset": images}, {"parent": other})] == ["parent"]


def test_the_longest_training_ends_before_its_timeout() -> None:
    assert KIND.timeout_s > 1440 * 60
