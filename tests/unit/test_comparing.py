"""Two versions on the same cases: figures by hand and against scikit-learn and lifelines, intervals, and the gate."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import numpy as np
import pytest
from lifelines.utils import concordance_index
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from models import comparing
from models.cases import BadCases, Cases, threshold_of
from models.comparing import NotComparable, Version, compare, gate

PRINT = "ab" * 32


def packed(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def version(p: Any, y: Any, fingerprint: str = PRINT, threshold: float = 0.5, **more: Any) -> Version:
    manifest = {"kind": "diagnosis", "data": {"fingerprint": fingerprint}, "labels": [{"threshold": threshold}]}
    groups = {name: more.pop(name) for name in list(more) if name.startswith("group.")}
    key = more.pop("key", np.arange(len(y), dtype=np.uint64))
    columns = {"y": np.asarray(y, np.float32), "p": np.asarray(p, np.float32)}
    return Version({**manifest, **more}, packed(key=key, **columns, **groups))


def cases(p: Any, y: Any, threshold: float = 0.5) -> Cases:
    return Cases.read(version(p, y).cases or b"", threshold)


def drawn(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes, and probabilities that know something of them, some of them equal."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.3).astype(int)
    return y, np.round(1 / (1 + np.exp(-(random.normal(size=n) + 1.5 * y - 1))), 2)


def test_figures_are_those_of_four_cases_worked_out_by_hand() -> None:
    # Given two positives at .9 and .4, two negatives at .6 and .1
    four = cases([0.9, 0.6, 0.4, 0.1], [1, 0, 1, 0])
    # Then of four pairs three are in order
    assert four.figure("auc")[0] == pytest.approx(3 / 4)
    # and the precision is 1 at the first positive, 2/3 at the second
    assert four.figure("auprc")[0] == pytest.approx((1 + 2 / 3) / 2)
    # .9 and .1 are on their right side of one half, .6 and .4 are not
    assert four.figure("accuracy")[0] == pytest.approx(1 / 2)
    assert cases([0.9, 0.6, 0.4, 0.1], [1, 0, 1, 0], threshold=0.65).figure("accuracy")[0] == pytest.approx(3 / 4)
    assert four.figure("brier")[0] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    # At .4: sensitivity 1, positive predictivity 2/3; at .9: 1/2 and 1
    assert four.figure("min_se_pp")[0] == pytest.approx(2 / 3)


def test_figures_are_those_of_scikit_learn() -> None:
    y, p = drawn()
    assert len(np.unique(p)) < len(p)
    found = cases(p, y)
    p32 = p.astype(np.float32)
    assert found.figure("auc")[0] == pytest.approx(roc_auc_score(y, p32), abs=1e-12)
    assert found.figure("auprc")[0] == pytest.approx(average_precision_score(y, p32), abs=1e-12)
    assert found.figure("brier")[0] == pytest.approx(brier_score_loss(y, p32), abs=1e-7)


def test_weights_are_the_same_as_repeating_the_cases() -> None:
    # Given cases and how often each is drawn
    y, p = drawn(60)
    times = np.random.default_rng(1).integers(0, 4, 60)
    # Then a figure under these weights is that of the cases written out
    for name in cases(p, y).figures:
        weighted = cases(p, y).figure(name, times[None].astype(float))[0]
        assert weighted == pytest.approx(cases(np.repeat(p, times), np.repeat(y, times)).figure(name)[0], abs=1e-12)


def test_the_concordance_of_survival_times_is_that_of_lifelines() -> None:
    random = np.random.default_rng(2)
    duration = random.integers(1, 20, 200).astype(np.float32)
    event, risk = random.random(200) < 0.6, np.round(random.normal(size=200) - duration / 10, 1)
    content = packed(key=np.arange(200, dtype=np.uint64), duration=duration, event=event, risk=risk)
    found = Cases.read(content)
    assert found.figures == ("c_index",)
    assert found.figure("c_index")[0] == pytest.approx(concordance_index(duration, -risk, event), abs=1e-9)


def survival(n: int, seed: int) -> Cases:
    """Times and risks with ties, four of ten cases last seen alive."""
    random = np.random.default_rng(seed)
    duration = random.integers(1, 40, n).astype(float)
    columns = {"duration": duration, "event": (random.random(n) < 0.6).astype(float)}
    risk = np.round(random.normal(size=n) - duration / 10, 1)
    return Cases(np.arange(n, dtype=np.uint64), {**columns, "risk": risk}, {})


def test_the_concordance_of_weighted_cases_is_that_of_all_pairs() -> None:
    found = survival(90, 3)
    time_, died, risk = found.columns["duration"], found.columns["event"] == 1, found.columns["risk"]
    known = ((time_[:, None] < time_) | ((time_[:, None] == time_) & ~died)) & died[:, None]
    agrees = (risk[:, None] > risk) + 0.5 * (risk[:, None] == risk)
    for weights in np.random.default_rng(9).integers(0, 4, (3, 90)).astype(float):
        pairs = weights[:, None] * weights * known
        assert found.figure("c_index", weights[None])[0] == pytest.approx((pairs * agrees).sum() / pairs.sum())


def test_many_cases_are_compared_with_fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    real = Cases.resamples

    def counted(self: Cases, random: np.random.Generator, count: int) -> Any:
        drawn.append(count)
        return real(self, random, count)

    monkeypatch.setattr(Cases, "resamples", counted)
    monkeypatch.setattr(comparing, "MOST_DRAWN", 300 * 400)
    for n, wanted in ((50, 2000), (400, 300), (2000, 200)):
        drawn.clear()
        comparing._differences(survival(n, 0), survival(n, 0))
        assert sum(drawn) == wanted


def test_a_version_against_itself_differs_by_nothing_and_passes_a_gate_without_margin() -> None:
    y, p = drawn()
    same = compare(version(p, y), version(p, y))
    assert same.n == 300
    assert {(one.difference, one.low, one.high) for one in same.differences} == {(0.0, 0.0, 0.0)}
    assert gate({"metric": "auc", "margin": 0.0}, version(p, y), version(p, y)).passed


def test_the_difference_is_the_second_minus_the_first_and_is_paired() -> None:
    # Given two versions that answer nearly alike, the second a little better on the positives
    y, p = drawn(400)
    better = np.clip(p + 0.03 * y, 0, 1)
    found = compare(version(p, y), version(better, y)).of("auc")
    assert found is not None
    assert found.difference == pytest.approx(found.b - found.a, abs=2e-6)
    # Then the interval lies above zero, far narrower than what one version's AUC alone is known to
    assert 0 < found.low < found.difference < found.high < 0.05
    brier = compare(version(p, y), version(better, y)).of("brier")
    assert brier is not None
    assert not brier.higher_is_better
    assert brier.difference < 0 < brier.gain()[1]


def test_the_order_in_which_the_cases_were_written_does_not_matter() -> None:
    y, p = drawn(100)
    other = np.random.default_rng(4).permutation(100)
    turned = version(p[other], y[other], key=other.astype(np.uint64))
    assert {one.difference for one in compare(version(p, y), turned).differences} == {0.0}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (version([0.1, 0.9], [0, 1], fingerprint="cd" * 32), "not tested on the same data"),
        (version([0.1, 0.9], [0, 1], key=np.array([0, 7], np.uint64)), "different cases"),
        (version([0.1, 0.9], [1, 0]), "different outcomes"),
        (Version({"kind": "prediction"}, None), "different kinds"),
        (Version({"kind": "diagnosis", "data": {"fingerprint": PRINT}}, None), "no cases.npz"),
        (Version({"kind": "diagnosis", "data": {"fingerprint": PRINT}}, b"PK nonsense"), "cannot be read"),
        (Version({"kind": "diagnosis", "data": None}, None), "not tested on the same data"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason_and_does_not_pass_a_gate(other: Version, why: str) -> None:
    mine = version([0.1, 0.9], [0, 1])
    with pytest.raises(NotComparable, match=why):
        compare(mine, other)
    verdict = gate({"metric": "auc", "margin": 0.5}, other, mine)
    assert not verdict.passed
    assert why in verdict.reasons[0]


@pytest.mark.parametrize(
    "content",
    [
        packed(key=np.arange(2), y=np.ones(2)),
        packed(key=np.arange(2), y=np.ones(3), p=np.ones(2)),
        packed(key=np.arange(2), y=np.ones(2), p=np.array([0.5, np.nan])),
        packed(key=np.array([{}], object), y=np.ones(1), p=np.ones(1)),
    ],
)
def test_a_file_that_is_no_cases_file_is_refused_and_nothing_is_unpickled(content: bytes) -> None:
    with pytest.raises(BadCases):
        Cases.read(content)


def test_a_worse_candidate_fails_unless_the_margin_allows_it() -> None:
    y, p = drawn(400)
    worse = np.clip(p - 0.15 * y, 0, 1)
    verdict = gate({"metric": "auc", "margin": 0.0}, version(worse, y), version(p, y))
    assert not verdict.passed
    assert "auc: the candidate's gain is -0." in verdict.reasons[0]
    assert gate({"metric": "auc", "margin": 0.3}, version(worse, y), version(p, y)).passed
    assert not gate({"metric": "brier", "margin": 0.0}, version(worse, y), version(p, y)).passed
    assert not gate({"metric": "c_index", "margin": 1.0}, version(p, y), version(p, y)).passed


def test_a_gain_that_chance_alone_could_make_does_not_pass_without_a_margin() -> None:
    # Given a candidate whose AUC is higher by so little that its interval holds zero
    y, p = drawn(300)
    other = np.clip(p + 0.05 * np.random.default_rng(8).normal(size=300) + 0.005 * y, 0, 1)
    found = compare(version(p, y), version(other, y)).of("auc")
    assert found is not None
    assert found.low < 0 < found.difference
    # Then it passes only with a margin as wide as the interval's lower end
    assert not gate({"metric": "auc", "margin": 0.0}, version(other, y), version(p, y)).passed
    assert gate({"metric": "auc", "margin": -found.low}, version(other, y), version(p, y)).passed


def with_a_harmed_group(size: int) -> tuple[Version, Version]:
    """Production, and a candidate that is better in all but the last `size` cases, which it gets wrong."""
    y, p = drawn(600, seed=5)
    better = np.clip(p + 0.1 * y, 0, 1)
    better[-size:] = 1 - p[-size:]
    sex = np.r_[np.zeros(600 - size, int), np.ones(size, int)]
    groups = {"group.Sex": sex}
    return version(p, y, **groups), version(better, y, groups={"Sex": ["F", "M"]}, **groups)


def test_a_subgroup_that_is_harmed_stops_a_candidate_that_is_better_on_the_whole() -> None:
    production, candidate = with_a_harmed_group(40)
    rule: dict[str, Any] = {"metric": "auc", "margin": 0.0, "subgroups": False}
    assert gate({**rule, "margin": 0.05}, candidate, production).passed
    verdict = gate({**rule, "margin": 0.05, "subgroups": True, "subgroup_margin": 0.05}, candidate, production)
    assert not verdict.passed
    assert verdict.reasons[0].startswith("auc in Sex=M (n = 40): the candidate is worse by 0.")


def test_a_subgroup_of_fewer_than_30_is_named_but_not_judged() -> None:
    production, candidate = with_a_harmed_group(29)
    verdict = gate({"metric": "auc", "margin": 0.1, "subgroups": True}, candidate, production)
    assert verdict.passed
    assert verdict.reasons == ("Not judged, too few cases or one outcome only: Sex=M (n = 29).",)


def test_leaving_out_the_subgroups_is_no_way_through_the_gate() -> None:
    production, candidate = with_a_harmed_group(40)
    rule: dict[str, Any] = {"metric": "auc", "margin": 0.05, "subgroups": True}
    assert candidate.cases is not None
    arrays = dict(np.load(io.BytesIO(candidate.cases)))
    # Given the same candidate without its subgroups, then it fails for want of them
    silent = Version(candidate.manifest, packed(**{name: arrays[name] for name in ("key", "y", "p")}))
    verdict = gate(rule, silent, production)
    assert (verdict.passed, verdict.reasons) == (
        False, ("The candidate's cases lack the subgroups that production's have: Sex.",)
    )  # fmt: skip
    # and with one subgroup variable of two as well, however good it is in that one
    both = Version(production.manifest, packed(**arrays, **{"group.Site": np.arange(600) % 2}))
    assert "have: Site." in gate(rule, candidate, both).reasons[0]
    # Given two versions that know no subgroups, or only small ones, then nothing was judged and nothing passes
    assert gate({**rule, "subgroups": False}, silent, silent).passed
    assert "none of these versions' could be judged" in gate(rule, silent, silent).reasons[0]
    crumbs = Version(candidate.manifest, packed(**{**arrays, "group.Sex": np.arange(600) // 20}))
    assert not gate(rule, crumbs, crumbs).passed


def test_a_comparison_is_json_and_the_same_every_time() -> None:
    production, candidate = with_a_harmed_group(40)
    first = json.dumps(compare(production, candidate).as_dict(), allow_nan=False)
    assert first == json.dumps(compare(production, candidate).as_dict(), allow_nan=False)
    assert json.loads(first)["subgroups"][1]["name"] == "Sex=M"


def test_a_subgroup_with_one_outcome_has_no_auc_and_its_other_figures() -> None:
    y, p = drawn(200)
    only_healthy = (y == 0).astype(int)
    found = compare(version(p, y, **{"group.site": only_healthy}), version(p, y, **{"group.site": only_healthy}))
    figures = {one.figure for one in found.subgroups[1].differences}
    assert "auc" not in figures
    assert "brier" in figures


def test_five_thousand_cases_are_compared_within_seconds() -> None:
    y, p = drawn(5000)
    begun = time.monotonic()
    compare(version(p, y), version(np.clip(p + 0.01, 0, 1), y))
    assert time.monotonic() - begun < 20


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    # Given 60 pairs of versions of equal quality: independent noise around the same truth
    covered = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        y = (random.random(150) < 0.4).astype(int)
        a, b = (1 / (1 + np.exp(-(y + random.normal(size=150)))) for _ in range(2))
        found = compare(version(a, y), version(b, y)).of("auc")
        assert found is not None
        covered += found.low <= 0 <= found.high
    # Then about 95 of 100 intervals hold the true difference, none
    assert covered >= 52


def test_the_threshold_is_that_of_the_label_or_of_the_version_or_one_half() -> None:
    assert threshold_of({"labels": [{"threshold": 0.46}]}) == 0.46
    assert threshold_of({"threshold": 0.2}) == 0.2
    assert threshold_of({"labels": None}) == 0.5
