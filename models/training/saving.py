"""What a training's checkpoint holds: the plan, every finished fit, the fit under way, and the curves."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jobs.errors import DatabaseUnavailable, StorageUnavailable
from jobs.running import Checkpoints

VERSION = 1
"""Of the layout below; another is refused."""

EVERY_S = (15.0, 30.0)
"""Seconds between two checkpoints: as often as the first where saving is cheap, as rarely as the second."""

SHARE = 0.01
"""Share of the time that saving may take."""


class Now(NamedTuple):
    """A fit under way, as models.training.state packs it."""

    label: str
    content: bytes
    said: Mapping[str, Any]


def digest(configuration: Mapping[str, Any]) -> str:
    """sha256 (hex) of all that must be equal for a checkpoint to be continued."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True, default=str).encode()).hexdigest()


class Saved:
    """The newest checkpoint, and what the next will hold."""

    def __init__(self, checkpoints: Checkpoints, configuration: str, say: Callable[[str], None]) -> None:
        """Reads the newest checkpoint; one of another configuration is left aside, and `say` is told."""
        self._checkpoints = checkpoints
        self._configuration = configuration
        self._say = say
        self.plan: Mapping[str, Any] | None = None
        self.fits: dict[str, bytes] = {}
        self.stages: dict[str, dict[str, bytes]] = {}
        self.curves: Mapping[str, Any] = {}
        self.pictures: dict[str, bytes] = {}
        self.now: Now | None = None
        self.place: Mapping[str, Any] | None = None
        self.moves: list[dict[str, list[Any]]] = []
        """Where attempts went on in another environment: what differed -> [before, then]."""

        self._saved_at, self._pause_s = time.monotonic(), EVERY_S[0]
        found = checkpoints.newest()
        if found is None:
            return
        files, manifest = found
        if manifest.get("version") != VERSION or manifest.get("configuration") != configuration:
            say("the newest checkpoint belongs to another configuration; training begins anew")
            return
        self._read(files, manifest)
        say(f"goes on from a checkpoint: {len(self.fits)} fits done{_under_way(self.now)}")

    def go_on(self, place: Mapping[str, Any]) -> None:
        """This attempt runs in `place`, as models.training.environment.deciding tells it.

        One unlike that of the checkpoint is said and kept: the weights may differ in their last bits from those of an
        uninterrupted training.
        """
        if self.place is not None and self.place != place:
            moved = {name: [self.place.get(name), value] for name, value in place.items()}
            self.moves.append({name: pair for name, pair in moved.items() if pair[0] != pair[1]})
            unlike = ", ".join(f"{name} {before} before, {then} now" for name, (before, then) in self.moves[-1].items())
            self._say(f"goes on in another environment ({unlike}): the last bits of the weights may differ")
        self.place = place

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._saved_at >= self._pause_s

    def save(self, now: Now | None) -> None:
        """Store everything; `now` is the fit under way.

        While storage or database are away training goes on, says so, and saves again when the next is due: what a
        failed checkpoint costs is only paid if the worker dies as well.
        """
        began = time.monotonic()
        self.now = now
        files = {f"fit-{n}.safetensors": content for n, content in enumerate(self.fits.values())}
        for n, stage in enumerate(self.stages.values()):
            files |= {f"stage-{n}-{k}": content for k, content in enumerate(stage.values())}
        files |= {f"picture-{n}": content for n, content in enumerate(self.pictures.values())}
        if now is not None:
            files["now.safetensors"] = now.content
        manifest = {
            "version": VERSION,
            "configuration": self._configuration,
            "plan": self.plan,
            "fits": list(self.fits),
            "stages": {label: list(stage) for label, stage in self.stages.items()},
            "curves": self.curves,
            "place": self.place,
            "moves": self.moves,
            "pictures": list(self.pictures),
            "now": None if now is None else {"label": now.label, "said": now.said},
        }
        try:
            self._checkpoints.save(files, manifest)
        except (StorageUnavailable, DatabaseUnavailable) as error:
            self._say(f"no checkpoint could be made ({error.code}); training goes on, and tries again")
        self._saved_at = time.monotonic()
        self._pause_s = min(max((self._saved_at - began) / SHARE, EVERY_S[0]), EVERY_S[1])

    def _read(self, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
        self.plan, self.curves = manifest["plan"], manifest["curves"]
        self.place, self.moves = manifest.get("place"), list(manifest.get("moves", ()))
        self.fits = {label: files[f"fit-{n}.safetensors"] for n, label in enumerate(manifest["fits"])}
        for n, (label, names) in enumerate(manifest["stages"].items()):
            self.stages[label] = {name: files[f"stage-{n}-{k}"] for k, name in enumerate(names)}
        self.pictures = {name: files[f"picture-{n}"] for n, name in enumerate(manifest.get("pictures", ()))}
        if manifest["now"] is not None:
            self.now = Now(manifest["now"]["label"], files["now.safetensors"], manifest["now"]["said"])


def _under_way(now: Now | None) -> str:
    return "" if now is None else f", {now.label} at step {now.said['step']}"
