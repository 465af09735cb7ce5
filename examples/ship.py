"""Make the shipped models again: `python examples/ship.py --data FOLDER [NAME...]`, or `make shipped DATA=FOLDER`.

Starts a stack of its own, has it read each data set, trains each model by an ordinary training job and exports the
version, all with the commands that anyone would type; each is printed before it runs. Uses the standard library and the
`medjobs` of the same environment. The trainings take from minutes to an hour each; an interrupted run goes on where it
was, since the jobs stay in the stack's home.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_S = 180.0


@dataclass(frozen=True)
class Shipped:
    """How a shipped model is made: the kind, the files of its data set, and the recipe."""

    kind: str
    format: str
    files: tuple[str, ...]
    recipe: str
    options: dict[str, object] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    """Settings of the recipe that differ from its defaults."""


MODELS = {
    "chest-pneumonia": Shipped(
        "diagnosis", "medmnist", ("imaging/pneumoniamnist.npz",), "chest-pneumonia",
        {
            "classes": ["normal", "pneumonia"], "positive": "pneumonia", "fit": "centre-square",
            "modalities": ["CR", "DX"],
        },
    ),
    "breast-malignancy": Shipped(
        "diagnosis", "medmnist", ("imaging/breastmnist.npz",), "breast-malignancy",
        {"classes": ["malignant", "normal or benign"], "positive": "malignant", "modalities": ["US"]},
    ),
    "icu-mortality": Shipped(
        "prediction", "physionet2012",
        ("sequences/physionet2012-set-a.tar.xz", "sequences/physionet2012-outcomes-a.txt"), "stack",
    ),
    "pbc-survival": Shipped("prediction", "pbc2", ("sequences/pbc2.csv",), "discrete-time-survival"),
    "blood-brain-barrier": Shipped(
        "screening", "molecules", ("molecules/BBBP.csv",), "boosting",
        {"smiles": "smiles", "targets": ["BBBP"], "split_by": "scaffold"},
    ),
    "tox21": Shipped(
        "screening", "molecules", ("molecules/tox21.csv",), "boosting",
        {
            "smiles": "smiles", "split_by": "scaffold",
            "targets": [
                "NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma", "SR-ARE",
                "SR-ATAD5", "SR-HSE", "SR-MMP", "SR-p53",
            ],
        },
        ("rounds=120",),
    ),
    "chest-gan": Shipped(
        "synthesis", "medmnist", ("imaging/pneumoniamnist.npz",), "chest-gan",
        {
            "classes": ["normal", "pneumonia"], "positive": "pneumonia", "fit": "centre-square",
            "modalities": ["CR", "DX"],
        },
    ),
}  # fmt: skip


class Stack:
    """`medjobs up` in a home of its own."""

    def __init__(self, home: Path) -> None:
        """Starts it and waits until it answers."""
        home.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDJOBS_")}
        self._environment = {**kept, "MEDJOBS_HOME": str(home.resolve())}
        self._screen = home / "screen.log"
        with self._screen.open("w") as out:
            up = [sys.executable, "-P", "-m", "medjobs", "up", "--port", "0", "--flower-port", "0"]
            self._up = subprocess.Popen(up, env=self._environment, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + START_S
        while "Ctrl-C" not in self._screen.read_text():
            if self._up.poll() is not None or time.monotonic() > deadline:
                self.stop()
                sys.exit(f"The stack did not start; {self._screen} says why.")
            time.sleep(0.2)

    def type(self, *words: str, quiet: bool = False) -> str:
        """Run a `medjobs` command; what it printed, where `quiet`. Ends the program where the command fails."""
        print("$ medjobs", shlex.join(words), flush=True)
        out = subprocess.PIPE if quiet else None
        command = [sys.executable, "-P", "-m", "medjobs", *words]
        done = subprocess.run(command, env=self._environment, stdout=out, text=True)
        if done.returncode:
            sys.exit(done.returncode)
        return done.stdout or ""

    def stop(self) -> None:
        """Ctrl-C."""
        if self._up.poll() is None:
            self._up.send_signal(signal.SIGINT)
            self._up.wait(60)


def make(stack: Stack, name: str, chosen: argparse.Namespace) -> None:
    """Data set, training, export of one model."""
    how = MODELS[name]
    files = [str((chosen.data / path).resolve()) for path in how.files]
    options = [word for key, value in how.options.items() for word in ("--option", f"{key}={json.dumps(value)}")]
    stack.type("data", "add", name, *files, "--format", how.format, *options)
    train = ["train", how.kind, "--data", name, "--name", name, "--recipe", how.recipe, "--seed", str(chosen.seed)]
    train += ["--minutes", f"{chosen.minutes:g}"] if chosen.minutes else []
    train += [word for setting in (*how.settings, *chosen.set) for word in ("--set", setting)]
    made = json.loads(stack.type(*train, "--watch", "--json", quiet=True))
    number = ["--as", str(chosen.number)] if chosen.number else []
    stack.type("models", "export", f"{name}@{made['version']}", "--to", str(chosen.to.resolve()), *number)


def main() -> int:
    """Make the models that were named."""
    parser = argparse.ArgumentParser(prog="python examples/ship.py", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--data", type=Path, required=True, help="folder with imaging/, sequences/ and molecules/")
    parser.add_argument("--to", type=Path, default=ROOT / "models" / "shipped", help="default: %(default)s")
    parser.add_argument(
        "--home", type=Path, default=ROOT / "build" / "shipping", help="of the stack; default %(default)s"
    )
    parser.add_argument("--as", type=int, dest="number", help="version's number there; default: the stack's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="time for each; default: the recipe's full epochs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the recipe")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in MODELS]
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; known: {' '.join(MODELS)}")
    stack = Stack(chosen.home)
    try:
        for name in chosen.names or MODELS:
            make(stack, name, chosen)
    finally:
        stack.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
