"""The screening model's parts: what they read, what they learn, and that a version says what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from jobs.errors import DatasetInvalid, ModelUnusable
from models.cases import Cases
from models.data.canonical import TEST, TRAIN, VALIDATION, MoleculeSet
from models.data.scaffolds import parts, scaffold
from models.screening import blending, boosting, features, graphs, preparing, spelling
from models.screening.domain import Domain
from models.screening.ensemble import load
from models.screening.lstm import SmilesLstm
from models.screening.molecules import Molecule, from_smiles
from models.screening.mpnn import Mpnn
from models.screening.outcome import OUTCOMES, Scale
from models.screening.recipes import Blend, Boosting
from models.screening.spelling import Vocabulary
from models.screening.tasks import masked_loss
from models.screening.trainer import train
from models.training.session import Session
from tests.screening_data import dataset, trained, version

torch.set_num_threads(1)

CLASSES = OUTCOMES["classes"]
CAFFEINE, ASPIRIN = "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "CC(=O)Oc1ccccc1C(=O)O"


def read(*smiles: str) -> list[Molecule]:
    return [from_smiles(text) for text in smiles]


def test_tokens_are_atoms_and_bonds_and_give_the_smiles_back() -> None:
    text = "C[C@@H](Br)c1ccc(Cl)cc1.[nH]%12"
    found = spelling.tokens(text)
    assert "".join(found) == text
    assert {"[C@@H]", "Br", "Cl", "[nH]", "%12"} <= set(found)


def test_every_spelling_is_the_same_molecule_and_repeats_by_its_number() -> None:
    (one,) = read(CAFFEINE)
    spelled = [spelling.view(one, number) for number in range(8)]
    assert len(set(spelled)) > 4
    assert {from_smiles(text).canonical for text in spelled} == {one.canonical}
    assert spelled == [spelling.view(one, number) for number in range(8)]


def test_padding_does_not_change_what_the_lstm_says() -> None:
    torch.manual_seed(0)
    words = Vocabulary.of([CAFFEINE, ASPIRIN])
    network = SmilesLstm(len(words), 3, layers=2, hidden=8, embedding=4, dropout=0.3).eval()
    alone, beside = network(*words.encode(["CCO"])), network(*words.encode(["CCO", CAFFEINE]))
    assert beside.shape == (2, 3)
    torch.testing.assert_close(alone[0], beside[0])


def test_the_lstm_reads_both_ways_as_one_over_packed_sequences_does() -> None:
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    torch.manual_seed(0)
    words = Vocabulary.of([CAFFEINE, ASPIRIN])
    network = SmilesLstm(len(words), 1, layers=1, hidden=8, embedding=4, dropout=0.0).eval()
    plain = torch.nn.LSTM(4, 8, batch_first=True, bidirectional=True)
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        for own, suffix in ((network.onward[0], ""), (network.backward[0], "_reverse")):
            getattr(plain, name + suffix).data = getattr(own, name).data
    codes, lengths = words.encode(["CCO", CAFFEINE, ASPIRIN])
    packed = pack_padded_sequence(network.embed(codes), lengths, batch_first=True, enforce_sorted=False)
    read, _ = pad_packed_sequence(plain(packed)[0], batch_first=True)
    there = torch.arange(read.shape[1]) < lengths[:, None]
    weight = network.attend(read)[..., 0].masked_fill(~there, -torch.inf).softmax(dim=1)
    torch.testing.assert_close(network(codes, lengths), network.head((weight[..., None] * read).sum(dim=1)))


def test_the_graph_network_reads_descriptors_as_the_training_molecules_spread_them() -> None:
    torch.manual_seed(0)
    molecules = read(CAFFEINE, ASPIRIN, "CCO", "CCCCCCO")
    whole = torch.from_numpy(np.stack([graphs.graph(one).whole for one in molecules]))
    whole[0, 0] = torch.nan
    network = Mpnn(1, hidden=8, steps=2, dropout=0.0, descriptors=whole.shape[1]).eval()
    network.measure(whole)
    np.testing.assert_allclose(network.centre, np.nanmean(whole, axis=0), rtol=1e-4, atol=1e-5)
    spread = np.nanstd(whole, axis=0)
    differs = spread > 1e-5
    np.testing.assert_allclose(network.spread[differs], spread[differs], rtol=1e-3)
    assert torch.isinf(network.spread[~differs]).all()
    batch = graphs.batch([graphs.graph(one) for one in molecules])
    batch.whole[:] = whole
    before = network(batch)
    batch.whole[1] += 10 * network.spread.nan_to_num(posinf=1.0)
    after = network(batch)
    assert torch.isfinite(before).all()
    assert torch.equal(before[2], after[2])
    assert before[1] != after[1]


def test_the_graph_network_does_not_see_the_order_of_atoms_or_its_neighbours_in_the_batch() -> None:
    torch.manual_seed(0)
    network = Mpnn(2, hidden=16, steps=3, dropout=0.1).eval()
    one, _, single = read(CAFFEINE, ASPIRIN, "C")
    other = Molecule("", one.mol.__class__(one.mol))
    from rdkit import Chem

    turned = Molecule("", Chem.RenumberAtoms(one.mol, list(range(one.mol.GetNumAtoms()))[::-1]))
    drawn = [graphs.graph(each) for each in (one, turned, single, other)]
    found = network(graphs.batch(drawn))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2], network(graphs.batch([drawn[2]]))[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], found[2])


def test_every_bond_runs_both_ways_and_each_is_the_others_reverse() -> None:
    made = graphs.batch([graphs.graph(one) for one in read("CCO", "c1ccccc1")])
    assert made.atoms.shape == (9, graphs.ATOM)
    assert made.bonds.shape == (16, graphs.BOND)
    backwards = torch.arange(16) ^ 1
    assert torch.equal(made.source[backwards], made.target)
    assert made.owner.tolist() == [0] * 3 + [1] * 6


def test_unmeasured_labels_have_no_part_in_the_loss() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.0, 5.0]])
    labels = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    p = torch.sigmoid(torch.tensor([0.3, 1.0, 5.0])).numpy()
    assert float(masked_loss(logits, labels, CLASSES)) == pytest.approx(log_loss([1, 0, 1], p), rel=1e-5)


def test_the_mean_auc_is_that_of_the_targets_that_have_both_classes() -> None:
    labels = np.array([[1, 1, np.nan], [0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.float32)
    score = np.array([[0.4, 0, 0.1], [0.5, 1, 0.2], [0.9, 0, 0.9], [0.1, 1, 0.3]])
    first, third = roc_auc_score([1, 0, 1, 0], score[:, 0]), roc_auc_score([0, 1, 0], score[1:, 2])
    assert CLASSES.mean_figure(labels, score) == pytest.approx((first + third) / 2)


def test_a_part_that_knows_nothing_gets_no_weight_and_the_blend_is_calibrated() -> None:
    random = np.random.default_rng(0)
    y = (random.random((400, 1)) < 0.3).astype(np.float32)
    good, noise = (2 * y - 1) * 3 + random.normal(0, 3, y.shape), random.normal(0, 3, y.shape)
    found = blending.fit(np.stack([good, noise]), y, CLASSES, Scale.none(1))
    assert found.weights[0] >= 0.9
    p = found.answer(np.stack([good, noise]))
    assert abs(float(p.mean() - y.mean())) < 0.01


def test_the_nearest_training_molecule_of_a_training_molecule_is_itself() -> None:
    domain = Domain.fit(read(CAFFEINE, ASPIRIN, "CCO", "CCCO", "CCCCO"))
    again = Domain.read(*domain.arrays(), domain.limit)
    assert again.nearest(read(CAFFEINE)).tolist() == [1.0]
    assert 0 < again.nearest(read("Cn1cnc2c1c(=O)[nH]c(=O)n2C"))[0] < 1


def test_trees_survive_being_packed() -> None:
    molecules = read(*(f"{'C' * n}{end}" for n in range(1, 31) for end in ("O", "N")))
    labels = np.array([[float(n % 2), 1.0] for n in range(60)], dtype=np.float32)
    table = features.table(molecules)
    texts = boosting.fit(table, labels, Boosting(rounds=10, least_in_leaf=2), 1, CLASSES)
    assert texts[1] == "", "a target of one class cannot be learnt"
    first, again = boosting.Trees(texts)(table), boosting.Trees(boosting.unpack(boosting.pack(texts)))(table)
    assert np.array_equal(first, again)
    assert roc_auc_score(labels[:, 0], first[:, 0]) > 0.95
    with pytest.raises(ValueError, match="unpacked"):
        boosting.unpack(b"no xz")


def test_molecules_of_one_scaffold_stand_in_one_part() -> None:
    smiles = [f"{'C' * n}c1ccccc1" for n in range(1, 60)] + [f"C1CCN({'C' * n})C1" for n in range(1, 12)]
    smiles += ["C1CC1C", "C1CCC1C", "C1CCCCC1C", "c1ccsc1C", "c1ccoc1C", "C1CCCCCC1C", "c1cnccc1C"]
    split = parts(smiles)
    for frame in {scaffold(text) for text in smiles}:
        assert len({int(split[n]) for n, text in enumerate(smiles) if scaffold(text) == frame}) == 1
    assert [int((split == part).sum()) for part in (TRAIN, VALIDATION, TEST)] == [61, 5, 11]


def test_copies_are_folded_and_where_they_disagree_nobody_is_believed() -> None:
    nan = np.nan
    smiles = ("CCO", "OCC", "CCN", "CCN.Cl", "CCC", "CCC")
    labels = np.array([[1, nan], [1, 0], [1, 1], [0, 1], [1, nan], [0, nan]], dtype=np.float32)
    data = MoleculeSet(
        split=np.zeros(6, np.uint8), key=np.arange(6, dtype=np.uint64), smiles=smiles, labels=labels, targets=("a", "b")
    )
    found = preparing.fold(preparing.read(data, TRAIN), CLASSES)
    assert [one.canonical for one in found.molecules] == ["CCO", "CCN"]
    assert np.array_equal(found.labels, [[1, 0], [nan, 1]], equal_nan=True)
    assert (found.folded, found.contradicted) == (3, 2)


def test_a_trained_version_read_from_its_files_gives_the_figures_of_its_card(tmp_path: Path) -> None:
    made, data = trained(2), dataset(2)
    ensemble = load(version(tmp_path, 2))
    rows = data.part(TEST)
    p = ensemble.answer([from_smiles(data.smiles[row]) for row in rows]).value
    test = made.manifest["metrics"]["test"]
    assert test["n"] == len(rows)
    assert test["mean_auc"]["value"] == pytest.approx(CLASSES.mean_figure(data.labels[rows], p), abs=1e-3)
    assert test["mean_auc"]["value"] > 0.9
    known = ~np.isnan(data.labels[rows])
    kept = Cases.read(made.files["cases.npz"])
    assert len(kept) == known.sum()
    assert kept.figure("auc")[0] == pytest.approx(roc_auc_score(data.labels[rows][known], p[known]), abs=1e-3)
    assert made.manifest["baseline"]["name"] == "ecfp-boosting"
    assert {"target=acid or amide", "target=oxygen"} == set(made.manifest["metrics"]["subgroups"])


def test_a_copy_without_the_test_part_gives_the_same_weights(tmp_path: Path) -> None:
    full, recipe = dataset(), Boosting(seeds=1, rounds=10)
    without = train(Session.local(full.take(full.split != TEST), recipe, seed=0))
    with_it = train(Session.local(full, recipe, seed=0))
    assert "cases.npz" not in without.files
    assert all(without.files[name] == with_it.files[name] for name in without.files)
    assert without.manifest["metrics"]["test"] is None


def test_files_that_were_changed_are_refused(tmp_path: Path) -> None:
    found = version(tmp_path)
    trees = next(found.folder.glob("trees-*"))
    trees.write_bytes(trees.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelUnusable, match="differs"):
        load(found)


@pytest.mark.parametrize(
    ("change", "words"), [(lambda y: y * 7.5, "values=numbers"), (lambda y: np.zeros_like(y), "at least")]
)
def test_a_set_that_cannot_be_learnt_is_refused(change: object, words: str) -> None:
    from dataclasses import replace

    data = dataset()
    with pytest.raises(DatasetInvalid, match=words):
        train(Session.local(replace(data, labels=change(data.labels)), Boosting(), seed=0))  # type: ignore[operator]


def test_the_blend_trains_both_networks_and_both_sorts_of_trees_and_tells_the_figures_of_each() -> None:
    small = {"epochs": 1, "hidden": 8}
    recipe = Blend.model_validate(
        {"seeds": 1, "lstm": {**small, "views": 2}, "mpnn": small, "boosting": {"rounds": 10}}
    )
    data = dataset()
    session = Session.local(data, recipe, seed=0)
    session.work.original = {"plan": PLAN}
    made = train(session)
    told = made.manifest["metrics"]["parts"]
    assert set(told) == {"smiles-lstm", "d-mpnn", "boosting", "ecfp-boosting"}
    assert sum(one["weight"] for one in told.values()) == pytest.approx(1)
    assert set(made.manifest["blend"]["parts"]) == {part for part, one in told.items() if one["weight"] > 0}
    assert data.part(VALIDATION).size == 60


PLAN = {
    "steps": {"smiles-lstm-0": 3, "d-mpnn-0": 3}, "full": {"smiles-lstm-0": 3, "d-mpnn-0": 3},
    "seconds": {"smiles-lstm-0": 0.0, "d-mpnn-0": 0.0}, "rest_s": 0.0, "minutes": None, "devices": 1, "threads": 1,
    "instruction_set": torch.backends.cpu.get_cpu_capability(), "micro": {},
}  # fmt: skip
"""As of an earlier run, so that no time is spent on measuring."""
