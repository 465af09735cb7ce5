"""Membership attacks: chance is 0.5, a memoriser is caught, an honest generator is not; and the gate over them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score, roc_curve

from models.synthesis import domias
from models.synthesis.gate import Limits, Verdict, caught_by, judge
from models.synthesis.interval import Interval
from models.synthesis.membership import Attack, attack
from models.synthesis.privacy import Audited, Privacy, attacked, memorised, nearness, privacy

Floats = np.typing.NDArray[np.float64]

WIDTH = 12
MIX = np.random.default_rng(99).normal(0, 1, (WIDTH, WIDTH))


def cases(count: int, seed: int) -> Floats:
    """Cases with correlated values, as pixels have."""
    return np.random.default_rng(seed).normal(0, 1, (count, WIDTH)) @ MIX


def audited(n: int = 200) -> tuple[Audited, Floats]:
    """Equal sets, and the whole training part of a generator: the members are its first `n`."""
    training = cases(1000, 0)
    return Audited(training[:n], cases(n, 1), cases(300, 2)), training


def test_an_attack_is_judged_as_sklearn_does() -> None:
    random = np.random.default_rng(0)
    members, others = random.normal(1, 1, 300), random.normal(0, 1, 300)
    y, p = np.repeat([1, 0], 300), np.concatenate([members, others])
    wrong, right, _ = roc_curve(y, p, drop_intermediate=False)
    found = attack(members, others)
    assert found.auc.value == pytest.approx(roc_auc_score(y, p), abs=1e-4)
    assert found.tpr_at_1_fpr.value == pytest.approx(right[wrong <= 0.01].max(), abs=1e-4)
    assert found.auc.low < found.auc.value < found.auc.high
    assert found.tpr_at_1_fpr.low <= found.tpr_at_1_fpr.value <= found.tpr_at_1_fpr.high


def test_the_interval_of_the_area_is_about_that_of_hanley_and_mcneil() -> None:
    random = np.random.default_rng(1)
    n = 400
    found = attack(random.normal(0.5, 1, n), random.normal(0, 1, n)).auc
    a = found.value
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    deviation = math.sqrt((a * (1 - a) + (n - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (n * n))
    assert (found.high - found.low) / 3.92 == pytest.approx(deviation, rel=0.15)


def test_equal_scores_are_called_together() -> None:
    """All alike: no threshold finds a member without as many false alarms, and the area is a half."""
    found = attack(np.zeros(100), np.zeros(100))
    assert found.auc == Interval(0.5, 0.5, 0.5)
    assert found.tpr_at_1_fpr.value == 0


def test_one_false_alarm_of_a_hundred_is_allowed_and_two_are_not() -> None:
    others = np.concatenate([[9.0, 7.0], np.zeros(98)])
    members = np.concatenate([np.full(5, 10.0), np.full(20, 8.0), np.full(30, 6.0), np.zeros(45)])
    assert attack(members, others).tpr_at_1_fpr.value == pytest.approx(0.25)


@pytest.mark.parametrize("others", [np.zeros(3), np.array([0.0, np.nan])])
def test_unequal_sets_and_scores_that_are_no_number_are_refused(others: Floats) -> None:
    with pytest.raises(ValueError, match=r"equal sets|not finite"):
        attack(np.zeros(2), others)


def test_the_coordinates_are_sklearns_whitened_components() -> None:
    reference, other = cases(300, 2), cases(50, 3)
    mean, axes = domias.whiten(reference, 5)
    theirs = PCA(5, whiten=True).fit(reference).transform(other)
    assert np.allclose(np.abs((other - mean) @ axes), np.abs(theirs) * math.sqrt(300 / 299))


def test_directions_without_variance_are_left_out() -> None:
    reference = np.hstack([cases(100, 0), np.ones((100, 3))])
    assert domias.whiten(reference, 32)[1].shape == (WIDTH + 3, WIDTH)


def test_the_density_ratio_is_high_where_generated_cases_pile_up() -> None:
    reference = cases(500, 4)
    spot = reference.mean(axis=0) + 0.1
    piled = spot + 0.001 * cases(200, 5)
    there, elsewhere = domias.scores(np.stack([spot, reference[0] * 1.01]), piled, reference)
    assert there > 20 > 0 > elsewhere


def test_a_memoriser_of_the_whole_training_part_is_caught_by_both_attacks() -> None:
    """400 cases drawn from 1,000 repeat about a third of the members: those are found, the others cannot be."""
    real, training = audited()
    found = attacked(memorised(training, 400), real)
    for one in found.values():
        assert one.auc.low > 0.55
        assert 0.15 < one.tpr_at_1_fpr.value < 0.5
        assert caught_by(one, Limits())


def test_fresh_cases_of_the_distribution_are_not_caught() -> None:
    real, _ = audited()
    for one in attacked(cases(400, 7), real).values():
        assert one.auc.low < 0.5 < one.auc.high
        assert not caught_by(one, Limits())


def test_a_memoriser_draws_its_training_cases_and_nothing_else() -> None:
    _, training = audited()
    copied = memorised(training, 50)
    gap = np.linalg.norm(copied[:, None] - training, axis=2).min(axis=1)
    assert gap.max() < 0.1 * np.linalg.norm(training.std(axis=0))
    assert np.array_equal(copied, memorised(training, 50))
    assert not np.array_equal(copied, memorised(training, 50, seed=1))


def test_nearness_is_a_half_for_fresh_cases_and_more_for_copies() -> None:
    real, _ = audited()
    fresh, copies = nearness(cases(400, 8), real), nearness(memorised(real.members, 400), real)
    assert fresh.nearer.low < 0.5 < fresh.nearer.high
    assert fresh.ratio == pytest.approx(1, abs=0.05)
    assert copies.nearer.value == 1
    assert copies.ratio < 0.1


def test_a_real_case_near_all_that_was_generated_makes_the_screen_say_nothing() -> None:
    """The member in the middle is the nearest of every case around it; without it the share is much lower."""
    real, _ = audited()
    hub = replace(real, members=np.vstack([np.zeros(WIDTH), real.members[1:]]))
    found = nearness(0.01 * cases(100, 9), hub).nearer
    assert found.value == 1
    assert found.low < 0.7


def test_scores_of_a_model_are_judged_beside_the_attacks_on_cases() -> None:
    real, training = audited()
    random = np.random.default_rng(0)
    losses = {"discriminator": (random.normal(2, 1, 200), random.normal(0, 1, 200))}
    found = privacy(cases(400, 7), real, losses, training=training)
    assert set(found.attacks) == {"domias", "reconstruction", "discriminator"}
    assert set(found.control) == {"domias", "reconstruction"}
    assert found.attacks["discriminator"].auc.value > 0.85
    assert found.generated == 400
    assert [check.figure for check in judge(Limits(), 0.9, 0.0, found).failures] == [
        "membership AUC (discriminator)", "members found at 1 % FPR (discriminator)",
    ]  # fmt: skip


def honest() -> Privacy:
    real, training = audited()
    return privacy(cases(400, 7), real, training=training)


def test_the_gate_passes_an_honest_generator_and_says_each_check() -> None:
    verdict = judge(Limits(), coverage=0.8, drop=0.02, privacy=honest())
    assert verdict.passed
    assert verdict.as_dict()["failures"] == []
    assert len(verdict.checks) == 2 + 2 * 2 + 1


def test_the_gate_names_the_figure_that_fails_its_value_and_its_limit() -> None:
    verdict = judge(Limits(), coverage=0.41, drop=0.02, privacy=honest())
    assert not verdict.passed
    assert verdict.as_dict()["failures"] == ["coverage is 0.410; at least 0.6 is asked for"]


def test_a_figure_that_was_not_measured_fails() -> None:
    verdict = judge(Limits(), coverage=None, drop=None, privacy=None)
    assert [check.figure for check in verdict.failures] == ["coverage", "TRTR - TSTR", "membership AUC"]
    assert "not measured" in str(verdict.failures[0])


def test_a_figure_that_nobody_asks_for_is_not_checked() -> None:
    assert judge(Limits(coverage=None, drop=None), None, None, honest()).passed


def test_a_memoriser_fails_the_gate() -> None:
    real, training = audited()
    verdict = judge(Limits(), 0.9, 0.0, privacy(memorised(training, 400, seed=5), real, training=training))
    assert {check.figure for check in verdict.failures} >= {
        "membership AUC (domias)",
        "membership AUC (reconstruction)",
    }


def test_attacks_that_would_not_catch_a_memoriser_fail_the_gate() -> None:
    """Five cases of a thousand repeat next to no member: nothing found there means nothing."""
    real, training = audited()
    found = privacy(cases(5, 8), real, training=training)
    assert [check.figure for check in judge(Limits(), 0.9, 0.0, found).failures] == ["attacks that catch the memoriser"]


def test_a_figure_at_its_limit_passes() -> None:
    level = Interval(0.6, 0.5, 0.7)
    found = honest()
    edge = replace(found, attacks={"domias": Attack(level, Interval(0.06, 0, 0.1), 200)})
    verdict: Verdict = judge(Limits(), 0.6, 0.05, edge)
    assert verdict.passed
