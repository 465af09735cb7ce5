"""The registry in several processes at once, as API, workers and keeper start together; and the models that we ship."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from db import models
from db.engine import Database
from models.catalogue import catalogue
from registry.shipped import import_shipped
from registry.versions import Registry
from storage.files import Storage

STARTING = """
import sys
from pathlib import Path
from db.engine import Database
from models.catalogue import Catalogue
from registry.shipped import import_shipped
from registry.versions import Registry
from storage.files import Storage

url, storage, release, cache = sys.argv[1:]
db, files = Database(url), Storage(storage)
sys.stdin.readline()
for _ in range(3):
    made = import_shipped(db, files, Catalogue.read({Path(release)}))
    print(*made, sep="\\n", end="\\n" if made else "")
    found = Registry(db, files, Path(cache)).local("lung", 1)
    assert (found.folder / "weights.safetensors").read_bytes() == b"one" * 100_000
db.close()
"""
"""What a starting process does with the registry, begun when the test says so."""


def ship(folder: Path) -> None:
    """A release with two models, one of two versions."""
    for name, number, body in (("lung", 1, b"one"), ("lung", 2, b"two"), ("skin", 1, b"skin")):
        place = folder / name / str(number)
        place.mkdir(parents=True)
        (place / "weights.safetensors").write_bytes(body * 100_000)
        (place / "card.md").write_text("# Card")
        manifest = {"name": name, "version": number, "kind": "diagnosis", "summary": ""}
        (place / "manifest.json").write_text(json.dumps(manifest))
        (folder / name / "aliases.json").write_text(json.dumps({"production": number}))


def test_given_four_processes_that_start_at_once_beside_a_damaged_copy_then_each_has_whole_files_and_all_is_once(
    database: Database, tmp_path: Path
) -> None:
    ship(tmp_path / "release")
    cache = tmp_path / "cache"
    damaged = cache / _content(tmp_path / "release" / "lung" / "1")
    damaged.mkdir(parents=True)
    (damaged / "weights.safetensors").write_bytes(b"half")
    url = database.url.render_as_string(hide_password=False)
    arguments = [url, f"file://{tmp_path / 'files'}", str(tmp_path / "release"), str(cache)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", STARTING, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip

    said = []
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        said += out.split()

    assert sorted(said) == ["lung@1", "lung@2", "skin@1"]
    found = [(v.name, v.number, v.manifest["version"]) for v in models.versions(database)]
    assert found == [("lung", 2, 2), ("lung", 1, 1), ("skin", 1, 1)]
    assert [(m.name, m.aliases) for m in models.models(database)] == [
        ("lung", {"production": 2}), ("skin", {"production": 1}),
    ]  # fmt: skip
    assert [move.after for move in models.history(database, "lung")] == [2]
    assert [path.name for path in cache.iterdir()] == [damaged.name]


def test_given_the_shipped_models_when_they_are_imported_then_each_serves_the_weights_that_its_manifest_names(
    database: Database, tmp_path: Path
) -> None:
    storage = Storage(f"file://{tmp_path / 'files'}")
    made = import_shipped(database, storage)
    assert "chest-pneumonia@1" in made
    assert len(made) == sum(len(numbers) for numbers in catalogue().versions.values())
    registry = Registry(database, storage, tmp_path / "cache")
    for shipped in [version for numbers in catalogue().versions.values() for version in numbers.values()]:
        here = registry.local(shipped.name, shipped.version)
        assert here.manifest == shipped.manifest
        assert here.kind == shipped.kind
        assert _sha256sum(here.folder / here.manifest["weights"]["file"]) == here.weights_sha256
        assert (here.folder / "card.md").read_bytes() == (shipped.folder / "card.md").read_bytes()
    assert registry.resolve("chest-pneumonia").aliases == ("production",)


def _sha256sum(path: Path) -> str:
    """By coreutils and not by our own code."""
    return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]


def _content(folder: Path) -> str:
    """The hash over a version's files, made by hand: one line of digest and name per file, sorted."""
    lines = sorted(
        f"sha256:{_sha256sum(path)} {path.name}\n" for path in folder.iterdir() if path.name != "manifest.json"
    )
    listed = folder.parent / "listed"
    listed.write_text("".join(lines))
    digest = _sha256sum(listed)
    listed.unlink()
    return digest
