"""Features by hand, trees as text, the stack against scikit-learn, and the distance from what is familiar."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.prediction import boosting, features, stack
from models.prediction.encoding import Encoder, Scale
from models.prediction.familiar import QUANTILE, Familiar
from models.prediction.patients import Observation, Patient
from models.prediction.recipes import BoostingSettings
from tests.sequence_sets import binary_set


def test_the_features_of_a_course_by_hand() -> None:
    """Given 1 and 3 in the first of eight bins and 5 in the last but one, then its eleven whole-course features."""
    encoder = Encoder("hours", 8.0, 8, (Scale("K", -9, 9, None, None, 0, 1),), (Scale("Age", 0, 9, None, None, 0, 1),))
    observations = tuple(Observation(*one) for one in [(0.1, "K", 1.0), (0.2, "K", 3.0), (6.5, "K", 5.0)])
    batch = encoder.encode([Patient({"Age": 4.0}, observations), Patient({}, ())])
    row = dict(zip(features.names(["K"], ["Age"]), features.table(batch, 8)[0], strict=True))
    assert row["Age"] == 4
    whole = {name: row[f"K:{name}:1/1"] for name in features.WHOLE}
    assert whole == pytest.approx(
        {"mean": 3, "low": 1, "high": 5, "last": 5, "count": 3, "first": 2, "since": 2, "slope": 0.5, "change": 3}
    )
    assert row["K:count:1/2"] == 1
    assert row["K:mean:1/4"] == 5
    empty = features.table(batch, 8)[1]
    assert empty[[n.split(":")[1:2] == ["count"] for n in features.names(["K"], ["Age"])]].tolist() == [0, 0, 0]
    assert np.isnan(empty).sum() == len(empty) - 3


def test_windows_count_back_from_now() -> None:
    """Given what was known after four of eight bins, then the last quarter is the two bins before."""
    data = binary_set(10)
    batch = Encoder.fit(data, np.arange(10), 48.0, 8).encode_set(data, np.arange(10)).until(4)
    names = features.names(list(data.variables), list(data.statics))
    found = features.table(batch, 8)[:, names.index("HR:count:1/4")]
    assert found.tolist() == batch.count[:, 2:4, 0].sum(dim=1).tolist()


def test_equal_seeds_give_equal_text_and_the_text_is_the_model() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 5))
    x[random.random(x.shape) < 0.2] = np.nan
    y = (np.nan_to_num(x[:, 0]) + random.normal(0, 0.5, 300) > 0).astype(float)
    settings = BoostingSettings(rounds=20)
    text = boosting.fit(x, y, settings, 3)
    assert text == boosting.fit(x, y, settings, 3)
    assert text != boosting.fit(x, y, settings, 4)
    theirs = lightgbm.Booster(model_str=text).predict(x)
    assert stack.sigmoid(boosting.Trees(text)(x)) == pytest.approx(theirs)


def test_the_stack_is_the_logistic_regression_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    y = (random.random(500) < 0.2).astype(float)
    logits = np.column_stack([2 * y + random.normal(0, 1, 500), y + random.normal(0, 3, 500)])
    found = stack.fit(logits, y)
    spread = logits.std(axis=0)
    theirs = LogisticRegression(C=1 / stack.RIDGE, tol=1e-10, max_iter=1000).fit(logits / spread, y)
    assert found == pytest.approx([float(theirs.intercept_[0]), *(theirs.coef_[0] / spread)], abs=1e-4)
    p = stack.sigmoid(stack.apply(found, logits))
    assert p.mean() == pytest.approx(y.mean(), abs=1e-8)
    assert np.isfinite(stack.sigmoid(np.array([-1e6, 1e6]))).all()


def test_one_in_a_hundred_is_unfamiliar_and_a_stranger_far_more() -> None:
    random = np.random.default_rng(0)
    profiles = random.normal(size=(1000, 4)) @ random.normal(size=(4, 4))
    familiar = Familiar.fit(profiles)
    assert (familiar.score(profiles) > 1).mean() == pytest.approx(1 - QUANTILE, abs=0.002)
    assert familiar.score(profiles.mean(axis=0)[None] + 100)[0] > 5
