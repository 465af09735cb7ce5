"""The runner of the training kind: session, the kind's trainer, and what every version says of its making."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobs.kinds import resolve
from jobs.predicting import NewArtifact
from jobs.running import Finished, Work
from jobs.training import NewVersion
from models.data.canonical import AnySet, ImageSet, load
from models.data.published import PUBLISHED
from models.registry import kinds
from models.synthesis import mixing
from models.training.card import card
from models.training.environment import environment, installed, repeatable
from models.training.kind import TrainingParams
from models.training.pictures import PNG
from models.training.plots import drawn
from models.training.ranks import Ranks
from models.training.session import Session
from models.training.together import spawned

MEASURED = frozenset({"seconds", "rest_s"})
"""Entries of a plan that a clock made; they stand in provenance and manifest."""

SVG, JSON, MARKDOWN = "image/svg+xml", "application/json", "text/markdown"


def run(work: Work) -> Finished:
    """Train, and give back the version with its curves. Raises `Stop`, and whatever the kind's trainer raises."""
    began = time.monotonic()
    params = work.params
    assert isinstance(params, TrainingParams)
    asked = params.again(work.original)
    with repeatable():
        if params.devices == 1:
            session, made = train(work, asked, Ranks(), began)
        else:
            with spawned(work, asked) as ranks:
                session, made = train(work, asked, ranks, began)
        manifest = completed(made, session, params)
    files = dict(made.files)
    files.setdefault("card.md", card(manifest).encode())
    version = NewVersion(made.name, made.kind, manifest, files)
    plan = session.planned.as_json()
    origin = {"plan": plan, "recipe": manifest["recipe"], **environment(work.device), "lineage": manifest["lineage"]}
    origin |= {"resumed_elsewhere": session.moves} if session.moves else {}
    return Finished([_item(session, manifest)], artifacts(session, files), origin, version)


def train(work: Work, params: TrainingParams, ranks: Ranks, began: float | None = None) -> tuple[Session, NewVersion]:
    """Call the trainer of the kind, on whatever rank this is."""
    dataset = work.datasets["dataset"]
    data, virtual = _augmented(load(dataset.folder), work, params)
    parent, settings = work.versions.get("parent"), params.settings()
    session = Session(work, data, dataset, settings, parent, params.minutes, ranks, began, virtual)
    # What was typed: a training run again takes its settings from the first run, and is asked for in the same words.
    assert isinstance(work.params, TrainingParams)
    session.made_with = command(work.params, work.seed)
    made: NewVersion = resolve(kinds()[params.kind].trainer or "")(session)
    work.progress(1.0, "finished", f"a version of {made.name}")
    return session, made


def _augmented(data: AnySet, work: Work, params: TrainingParams) -> tuple[AnySet, dict[str, Any] | None]:
    """The data set with the virtual images that were asked for, and what the manifest says of them."""
    generator = work.versions.get("augment_with")
    if generator is None:
        return data, None
    assert isinstance(data, ImageSet)
    more = mixing.mixed(data, generator, params.ratio, work.seed)
    return more, mixing.described(generator, params.ratio, len(more) - len(data))


def _real(session: Session) -> AnySet:
    return mixing.real(session.data, session.virtual) if isinstance(session.data, ImageSet) else session.data


def completed(made: NewVersion, session: Session, params: TrainingParams) -> dict[str, Any]:
    """The trainer's manifest with all that is the same for every kind. What the trainer itself says stands."""
    parent, dataset = session.parent, session.dataset
    lineage = [] if parent is None else [{"name": parent.name, "version": parent.version}]
    common: dict[str, Any] = {
        "name": made.name,
        "kind": made.kind,
        "summary": f"{params.kind}, recipe {params.recipe}, trained on {dataset.name}.",
        "seed": session.seed,
        "seeds": [session.seed],
        "recipe": {"name": params.recipe, "settings": session.recipe.model_dump(mode="json")},
        "plan": session.planned.as_json(),
        "environment": environment(session.device),
        "code_version": installed("medjobs") or "source",
        "parent": lineage[0] if parent is not None else None,
        "lineage": [*lineage, *(parent.manifest.get("lineage") or [] if parent is not None else [])],
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_with": session.made_with,
        "resumed_elsewhere": session.moves,
    }
    data = {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "format": dataset.format,
        "counts": _real(session).counts(),
        "virtual": session.virtual,
        **PUBLISHED.get(dataset.format, {}),
        **(made.manifest.get("data") or {}),
    }
    manifest = {**common, **made.manifest, "data": data}
    weights = made.files.get("weights.safetensors")
    if "weights" not in manifest and weights is not None:
        digest = hashlib.sha256(weights).hexdigest()
        manifest["weights"] = {"file": "weights.safetensors", "sha256": digest, "bytes": len(weights)}
    # The rest of the system keeps manifests as JSON, which knows no NaN: an undefined figure is null.
    found: dict[str, Any] = finite(manifest)
    return found


def artifacts(session: Session, files: Mapping[str, bytes]) -> tuple[NewArtifact, ...]:
    """Curves in three forms, the card, the plots among the version's files, and the pictures of it learning."""
    curves = session.curves
    name, events = curves.event_file()
    found = [
        NewArtifact("curves.json", JSON, curves.text()),
        NewArtifact("curves.svg", SVG, drawn(curves.as_json()).encode()),
        NewArtifact(name, "application/octet-stream", events),
        NewArtifact("card.md", MARKDOWN, files["card.md"]),
    ]
    found += [NewArtifact(name, SVG, content) for name, content in sorted(files.items()) if name.endswith(".svg")]
    found += [NewArtifact(name, PNG, content) for name, content in session.pictures.files().items()]
    return tuple(found)


def finite(value: Any) -> Any:
    """The same JSON with null where a number is not finite."""
    if isinstance(value, Mapping):
        return {str(name): finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _item(session: Session, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """As models.training.kind.TrainingItem says; the worker adds where it was registered."""
    baseline = manifest.get("baseline") or {}
    points = session.curves.as_json()
    return {
        "metrics": manifest.get("metrics") or {},
        "baseline": baseline,
        "beats_baseline": baseline.get("beaten"),
        "seeds": manifest["seeds"],
        "seed": manifest["seed"],
        "recipe": manifest["recipe"],
        # What was measured differs from run to run, and an item is what equal jobs have in common.
        "plan": {name: value for name, value in manifest["plan"].items() if name not in MEASURED},
        "curves": {name: {"points": len(of), "last": of[-1][1]} for name, of in points.items() if of},
        "weights_sha256": (manifest.get("weights") or {}).get("sha256"),
    }


def command(params: TrainingParams, seed: int) -> str:
    """The command that asks for this training again, for the same model."""
    words = [f"medjobs train {params.kind} --data {params.dataset}"]
    words += [f"--name {params.name}"] if params.name is not None else []
    words += [f"--recipe {params.recipe} --seed {seed}"]
    words += [f"--minutes {params.minutes:g}"] if params.minutes is not None else []
    words += [f"--devices {params.devices}"] if params.devices > 1 else []
    words += [f"--parent {params.parent}"] if params.parent is not None else []
    words += [f"--augment-with {params.augment_with} --ratio {params.ratio:g}"] if params.augment_with else []
    words += [f"--set {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in params.overrides.items()]
    return " ".join(words)
