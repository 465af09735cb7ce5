"""The loop: whatever interrupts a training, it ends with the weights that it would have had."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from jobs.errors import BudgetTooSmall, DatabaseUnavailable, PermanentError, StorageUnavailable
from jobs.running import Stop
from models.training import reporting, saving
from models.training.local import LocalWork, MemoryCheckpoints
from models.training.plan import Cost, settled
from models.training.session import Session
from models.training.state import to_bytes
from models.training.task import Planned
from storage.checkpoints import StoredCheckpoints
from storage.disk import Disk
from tests.training_toy import Interrupted, ToyRecipe, ToyTask, cases, sha256, train

DATA = cases()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(work: LocalWork | None = None, minutes: float | None = None, **settings: Any) -> tuple[Session, bytes]:
    session = Session.local(DATA, ToyRecipe(**settings), 5, minutes=minutes, work=work)
    return session, train(session).files["weights.safetensors"]


def attempts(work: Interrupted, stops: list[int], **settings: Any) -> tuple[int, bytes]:
    """Attempts that stop after so many steps each, and a last one that does not; how many stopped, and the weights."""
    stopped = 0
    for steps in stops:
        work.steps, work.stop_after = 0, steps
        try:
            return stopped, trained(work, **settings)[1]
        except Stop:
            stopped += 1
    work.stop_after = None
    return stopped, trained(work, **settings)[1]


def checkpoint(work: LocalWork) -> tuple[dict[str, bytes], dict[str, Any]]:
    found = work.checkpoints.newest()
    assert found is not None
    return found


@pytest.mark.parametrize(
    "settings", [{}, {"precision": "bf16"}, {"ema": 0.0, "clip": None, "patience": 2, "epochs": 9}]
)
def test_a_training_stopped_anywhere_ends_with_the_same_weights(settings: dict[str, Any]) -> None:
    """Given a training stopped at random steps, when each attempt goes on, then no weight differs in any bit."""
    whole, expected = trained(**settings)
    draw = random.Random(1)
    work = Interrupted()
    stopped, weights = attempts(work, [draw.randint(1, 9) for _ in range(6)], **settings)
    assert stopped >= 4
    assert sha256(weights) == sha256(expected)
    again = Session.local(DATA, ToyRecipe(**settings), 5, work=work)
    assert again.curves.as_json() == whole.curves.as_json()
    assert any(line.startswith("goes on from a checkpoint") for line in work.logs)


def test_a_cancel_saves_no_checkpoint_and_a_drain_does() -> None:
    """Given a stop at the sixth step, then the state is kept where the job goes on elsewhere, and only there."""
    kept = {}
    for resumes in (True, False):
        work = Interrupted(stop_after=6)
        work.resumes = resumes
        with pytest.raises(Stop):
            trained(work)
        kept[resumes] = checkpoint(work)[1]["now"]
    assert kept[True]["label"] == "member-0"
    assert kept[False] is None


def test_a_validation_looks_for_a_cancel_before_each_forward_pass_and_ends_before_a_drain() -> None:
    """Given a validation of three batches, when told to stop at its second, then a cancel ends it there; a drain waits
    for its end, so that the checkpoint lies between two steps and the weights are as ever."""

    class Batched(ToyTask):
        def validate(self, network: nn.Module) -> dict[str, float]:
            for part in torch.split(self.held_x, 10):
                network(part)
                seen.append(len(part))
            return {}

    class During(LocalWork):
        stop: Stop | None = None

        def step(self) -> None:
            if self.stop is not None and len(seen) > 4:
                raise self.stop

    recipe = ToyRecipe()
    for stop, batches in ((Stop("cancelled", resumes=False), 5), (Stop("drained"), 6)):
        seen: list[int] = []
        work = During(5)
        work.stop = stop
        with pytest.raises(Stop):
            Session.local(DATA, recipe, 5, work=work).fit("one", Batched(DATA, recipe), 2)
        assert len(seen) == batches
        assert (checkpoint(work)[1]["now"] is not None) == stop.resumes


def test_another_seed_gives_other_weights() -> None:
    session = Session.local(DATA, ToyRecipe(), 6)
    assert sha256(train(session).files["weights.safetensors"]) != sha256(trained()[1])


def test_a_damaged_newest_checkpoint_costs_steps_and_nothing_else(tmp_path: Path) -> None:
    """Given the newest checkpoint cut short on disk, then the one before is taken, and the weights are the same."""
    work = Interrupted()
    work.checkpoints = StoredCheckpoints(Disk(tmp_path), "job", 1)
    for steps in (3, 5):
        work.steps, work.stop_after = 0, steps
        with pytest.raises(Stop):
            trained(work)
    newest = max(tmp_path.rglob("now.safetensors"), key=lambda path: int(path.parent.name))
    before = max(int(checkpoint(work)[1]["now"]["said"]["step"]), 1)
    newest.write_bytes(newest.read_bytes()[:-100])
    assert int(checkpoint(work)[1]["now"]["said"]["step"]) < before
    work.checkpoints = StoredCheckpoints(Disk(tmp_path), "job", 2)
    work.stop_after = None
    assert sha256(trained(work)[1]) == sha256(trained()[1])


def test_storage_or_database_that_is_away_at_a_checkpoint_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a checkpoint after every step, and three of them that fail, then each is said, the later ones are made,
    and the weights are those of a training that met no failure."""

    class Blinking(MemoryCheckpoints):
        asked = 0

        def save(self, files: dict[str, bytes], manifest: dict[str, Any]) -> None:
            self.asked += 1
            if self.asked in failing:
                raise failing[self.asked]
            super().save(files, manifest)

    failing = {1: DatabaseUnavailable(), 4: StorageUnavailable(), 5: DatabaseUnavailable()}
    monkeypatch.setattr(saving, "EVERY_S", (0.0, 0.0))
    work = LocalWork(5)
    work.checkpoints = Blinking()
    assert sha256(trained(work)[1]) == sha256(trained()[1])
    told = [line for line in work.logs if line.startswith("no checkpoint could be made")]
    assert [line.split("(")[1].split(")")[0] for line in told] == [failing[n].code for n in sorted(failing)]
    assert work.checkpoints.asked > 5
    assert checkpoint(work)[1]["fits"] == ["member-0", "member-1"]


def test_a_checkpoint_of_another_configuration_is_left_aside_and_said_so() -> None:
    work = Interrupted(stop_after=6)
    with pytest.raises(Stop):
        trained(work)
    work.stop_after = None
    assert sha256(trained(work, dropout=0.3)[1]) == sha256(trained(dropout=0.3)[1])
    assert work.logs[-1].startswith("the newest checkpoint belongs to another configuration")


def test_a_checkpoint_is_tensors_and_json() -> None:
    """Given a stop within a fit, then every file reads as safetensors, and the rest went through JSON."""
    work = Interrupted(stop_after=6)
    with pytest.raises(Stop):
        trained(work)
    files, manifest = checkpoint(work)
    assert set(files) >= {"now.safetensors"}
    tensors = safetensors.torch.load(files["now.safetensors"])
    assert {name.split(".")[0] for name in tensors} == {"network", "averaged", "optimizer", "sum"}
    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest


def test_the_plan_is_committed_before_the_first_step_and_not_made_again() -> None:
    """Given a plan, then a checkpoint holds it at once, and the next attempt keeps it."""
    work = Interrupted()
    session = Session.local(DATA, ToyRecipe(), 5, minutes=10, work=work)
    planned = {label: Planned(ToyTask(DATA, ToyRecipe()), 4) for label in ("member-0", "member-1")}
    plan = session.plan(planned)
    assert checkpoint(work)[1]["plan"] == plan.as_json()
    told = len(work.said)
    other = Session.local(DATA, ToyRecipe(), 5, minutes=10, work=work)
    assert other.plan(planned) == plan
    assert len([said for said in work.said if said[1] == "planning"]) >= 1
    assert len(work.said) == told


def test_minutes_become_steps_that_end_in_time() -> None:
    """Given 1,000 epochs of steps of 10 ms in two fits and 6 seconds, then every fit gets the same share of them."""
    began = time.monotonic()
    session, _ = trained(minutes=0.1, epochs=1000, pause_s=0.01)
    passed = time.monotonic() - began
    plan = session.planned
    assert plan.full == {"member-0": 4000, "member-1": 4000}
    assert plan.steps["member-0"] == plan.steps["member-1"] < 400
    assert passed < 6.6
    assert passed > 2


def test_a_budget_too_small_for_an_epoch_is_refused_with_one_that_suffices() -> None:
    """Given 4 steps of 50 ms an epoch in each of two fits, when .3 seconds are asked for, then nothing is kept, and the
    budget that the refusal names gives every fit its epoch and is kept."""
    work = LocalWork(5)
    with pytest.raises(BudgetTooSmall, match=r"0\.005 minutes are too few.*would do") as refused:
        trained(work, minutes=0.005, epochs=100, pause_s=0.05)
    assert not refused.value.retryable
    assert work.checkpoints.newest() is None
    least = refused.value.facts["least_minutes"]
    assert 0 < least < 1
    session, _ = trained(minutes=least, epochs=100, pause_s=0.05)
    assert all(4 <= steps < 400 for steps in session.planned.steps.values())


@pytest.mark.parametrize(
    ("left_s", "epochs", "steps"),
    [(100.0, 3, 12), (8.8, 3, 8), (4.4, 3, 4), (4.3, 3, None), (0.0, 3, None), (2.2, 0.5, 2)],
)
def test_the_least_plan_is_an_epoch_of_every_fit_or_all_of_a_shorter_recipe(
    left_s: float, epochs: float, steps: int | None
) -> None:
    """Given steps of a second, 4 an epoch, and .92 of the time left for them: .92 x 8.8 = 8.1, .92 x 4.4 = 4.05,
    .92 x 4.3 = 3.96, .92 x 2.2 = 2.02."""
    fits = {"one": Planned(ToyTask(DATA, ToyRecipe()), epochs)}
    cost = {"one": Cost(1.0, 0.0, 32)}

    def planned() -> int:
        return settled(fits, cost, 5.0, left_s, 0.0).steps["one"]

    if steps is None:
        with pytest.raises(BudgetTooSmall):
            planned()
    else:
        assert planned() == steps


def test_with_time_enough_the_recipe_is_followed_to_its_end() -> None:
    session, weights = trained(minutes=5)
    assert session.planned.steps == session.planned.full == {"member-0": 16, "member-1": 16}
    assert sha256(weights) == sha256(trained()[1])


def test_a_training_run_again_takes_over_the_plan() -> None:
    """Given the record of a training cut by its minutes, when it is run again, then the weights are the same."""
    session, weights = trained(minutes=0.06, epochs=300, pause_s=0.005)
    assert session.planned.steps["member-0"] < session.planned.full["member-0"]
    work = Interrupted()
    work.original = {"plan": json.loads(json.dumps(session.planned.as_json()))}
    again, same = trained(work, minutes=0.06, epochs=300, pause_s=0.005)
    assert again.planned == session.planned
    assert sha256(same) == sha256(weights)
    assert not [said for said in work.said if said[1] == "planning"]


def test_training_ends_early_with_the_best_weights() -> None:
    """Given a figure that is best after the third epoch, then two epochs later it ends with the third's weights."""

    class Rising(ToyTask):
        def validate(self, network: nn.Module) -> dict[str, float]:
            seen.append({name: value.clone() for name, value in network.state_dict().items()})
            return {"accuracy": figures[len(seen) - 1]}

    seen: list[dict[str, Tensor]] = []
    figures = [-1.0, 0.5, 0.6, 0.9, 0.8, 0.9, 0.0, 0.0]  # the first is measured for the plan
    work = LocalWork(5)
    session = Session.local(DATA, ToyRecipe(), 5, work=work)
    network = session.fit("one", Rising(DATA, ToyRecipe(patience=2)), 7)
    assert len(seen) == 6
    assert sha256(to_bytes(network.state_dict())) == sha256(to_bytes(seen[3]))
    assert work.logs == ["one: stopped early after epoch 5, best was 0.9000 after epoch 3"]


def test_too_little_memory_means_smaller_portions_of_the_same_batch() -> None:
    """Given a device that holds 8 examples, then batches of 32 are added up in portions: the losses are the same."""

    class Small(ToyTask):
        def loss(self, network: nn.Module, batch: Any) -> Tensor:
            if len(batch[0]) > 8:
                raise torch.OutOfMemoryError("no room")
            return super().loss(network, batch)

    plain = {"dropout": 0.0, "noise": 0.0, "norm": False}
    losses, works = [], []
    for task in (ToyTask(DATA, ToyRecipe(**plain)), Small(DATA, ToyRecipe(**plain))):
        works.append(LocalWork(5))
        session = Session.local(DATA, ToyRecipe(), 5, work=works[-1])
        session.fit("one", task, 3)
        losses.append(torch.tensor([value for name, value, _ in works[-1].metrics if name == "one/loss"]))
        assert dict(session.planned.micro) == ({} if type(task) is ToyTask else {"one": 8})
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)


def test_memory_that_runs_out_later_is_said_and_remembered() -> None:
    class Filling(ToyTask):
        calls = 0

        def loss(self, network: nn.Module, batch: Any) -> Tensor:
            Filling.calls += 1
            if Filling.calls > 40 and len(batch[0]) > 16:
                raise torch.OutOfMemoryError("no room")
            return super().loss(network, batch)

    work = LocalWork(5)
    session = Session.local(DATA, ToyRecipe(), 5, work=work)
    session.fit("one", Filling(DATA, ToyRecipe()), 12)
    assert work.logs == ["one: out of memory; 16 examples at once from here on, same batch"]
    assert session.planned.micro == {"one": 16}


def test_progress_says_where_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given 160 steps in two fits, each of .3 s by a clock of our own, far from the pace that was planned with, then
    progress comes every 1.2 s of it, never falls, and after its first tenth the time left is right to the second."""

    class Paced(ToyTask):
        def loss(self, network: nn.Module, batch: Any) -> Tensor:
            now[0] += 0.3
            return super().loss(network, batch)

    class Watched(LocalWork):
        def progress(self, fraction: float, stage: str, message: str = "") -> None:
            if stage == "training":
                said.append((now[0], fraction, message))

    now = [100.0]
    said: list[tuple[float, float, str]] = []
    monkeypatch.setattr(reporting, "time", SimpleNamespace(monotonic=lambda: now[0]))
    session = Session.local(DATA, ToyRecipe(), 5, work=Watched(5))
    tasks = {label: Paced(DATA, ToyRecipe()) for label in ("one", "two")}
    session.plan({label: Planned(task, 20) for label, task in tasks.items()})
    for label, task in tasks.items():
        session.fit(label, task, 20)
    ended = now[0]
    assert 30 <= len(said) <= 41
    fractions = [fraction for _, fraction, _ in said]
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1
    assert all("epoch" in message and "loss" in message for _, _, message in said)
    for at, fraction, message in said:
        if fraction > 0.1:
            left = float(message.rsplit(", ", 1)[1].removesuffix(" s left"))
            assert left == pytest.approx(ended - at, abs=0.6)


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    class Diverging(ToyTask):
        def loss(self, network: nn.Module, batch: Any) -> Tensor:
            return super().loss(network, batch) * float("inf")

    with pytest.raises(PermanentError, match=r"one, step 1.*smaller learning rate"):
        Session.local(DATA, ToyRecipe(), 5).fit("one", Diverging(DATA, ToyRecipe()), 1)


def test_curves_are_thin_and_begin_at_once() -> None:
    work = LocalWork(5)
    trained(work, epochs=75, fits=1)
    points = [(step, value) for name, value, step in work.metrics if name == "member-0/loss"]
    assert [step for step, _ in points] == [1, *range(3, 301, 3)]
    assert len([1 for name, _, _ in work.metrics if name == "member-0/accuracy"]) == 75


def test_a_stage_that_is_no_network_is_done_once() -> None:
    made = []

    def make() -> dict[str, bytes]:
        made.append(1)
        return {"trees.txt": b"a", "more/b": b""}

    work = LocalWork(5)
    found = [Session.local(DATA, ToyRecipe(), 5, work=work).once("boosting", make) for _ in range(2)]
    assert found == [{"trees.txt": b"a", "more/b": b""}] * 2
    assert len(made) == 1


def test_a_fit_that_was_not_planned_is_refused() -> None:
    session = Session.local(DATA, ToyRecipe(), 5)
    task = ToyTask(DATA, ToyRecipe())
    session.plan({"one": Planned(task, 1)})
    with pytest.raises(ValueError, match="not among the fits"):
        session.fit("two", task, 1)
    with pytest.raises(ValueError, match="called before"):
        session.plan({"two": Planned(task, 1)})
