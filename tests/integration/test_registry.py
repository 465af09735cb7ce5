"""The registry over database and storage: shipped versions, references, and files that were damaged."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from db import models
from db.engine import Database
from jobs.errors import ModelUnusable
from models.catalogue import Catalogue, UnknownModel
from registry.shipped import import_shipped
from registry.versions import Registry
from storage.files import Storage
from tests.jobs_in_a_database import caller


def ship(folder: Path, number: int, weights: bytes, kind: str = "diagnosis") -> Catalogue:
    """A release that ships one model up to that version."""
    place = folder / "lung" / str(number)
    place.mkdir(parents=True)
    (place / "weights.safetensors").write_bytes(weights)
    (place / "card.md").write_text("# A card")
    manifest = {
        "name": "lung",
        "version": number,
        "kind": kind,
        "summary": weights.decode(),
        "weights": {"sha256": "x"},
    }
    (place / "manifest.json").write_text(json.dumps(manifest))
    (folder / "lung" / "aliases.json").write_text(json.dumps({"production": number}))
    return Catalogue.read({folder})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path / 'files'}")


@pytest.fixture
def registry(database: Database, storage: Storage, tmp_path: Path) -> Registry:
    return Registry(database, storage, tmp_path / "cache")


def test_given_a_release_when_it_starts_twice_then_its_versions_are_registered_once(
    database: Database, storage: Storage, registry: Registry, tmp_path: Path
) -> None:
    release = ship(tmp_path / "release", 1, b"one")

    assert import_shipped(database, storage, release) == ["lung@1"]
    assert import_shipped(database, storage, release) == []

    version = registry.resolve("lung")
    assert (version.number, version.kind, version.shipped, version.aliases) == (1, "diagnosis", True, ("production",))


def test_given_several_processes_that_start_then_one_version_is_registered(
    database: Database, storage: Storage, tmp_path: Path
) -> None:
    release = ship(tmp_path / "release", 1, b"one")
    threads = [threading.Thread(target=import_shipped, args=(database, storage, release)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [(v.name, v.number) for v in models.versions(database)] == [("lung", 1)]
    assert len(models.history(database, "lung")) == 1


def test_given_a_newer_release_then_production_follows_it_and_the_old_version_still_serves(
    database: Database, storage: Storage, registry: Registry, tmp_path: Path
) -> None:
    import_shipped(database, storage, ship(tmp_path / "old", 1, b"one"))
    import_shipped(database, storage, ship(tmp_path / "new", 2, b"two"))

    assert registry.pin("lung").number == 2
    assert (registry.local("lung", 1).folder / "weights.safetensors").read_bytes() == b"one"


def test_given_a_person_who_moved_production_then_a_release_leaves_it_there(
    database: Database, storage: Storage, registry: Registry, tmp_path: Path
) -> None:
    import_shipped(database, storage, ship(tmp_path / "old", 1, b"one"))
    import_shipped(database, storage, ship(tmp_path / "new", 2, b"two"))
    models.move_alias(database, "lung", "production", 1, caller_id=caller(database), reason="rolled back")

    import_shipped(database, storage, Catalogue.read({tmp_path / "new"}))
    import_shipped(database, storage, ship(tmp_path / "newest", 3, b"three"))

    assert registry.pin("lung").number == 1
    assert registry.pin("lung@3").number == 3


def test_given_a_name_that_belongs_to_another_kind_then_the_release_starts_without_that_model(
    database: Database, storage: Storage, tmp_path: Path
) -> None:
    models.add(
        database, name="lung", kind="prediction", caller_id=caller(database), content="c" * 64, manifest={}, files=[]
    )

    assert import_shipped(database, storage, ship(tmp_path / "release", 1, b"one")) == []


def test_given_references_then_each_means_one_version_or_says_what_there_is(
    database: Database, storage: Storage, registry: Registry, tmp_path: Path
) -> None:
    import_shipped(database, storage, ship(tmp_path / "release", 1, b"one"))

    assert registry.pin("lung") == registry.pin("lung@1") == registry.pin("lung@production")
    with pytest.raises(UnknownModel) as unknown:
        registry.pin("lung@7")
    assert unknown.value.known == ("lung@1", "lung@production")
    with pytest.raises(UnknownModel) as unknown:
        registry.resolve("liver")
    assert unknown.value.known == ("lung",)


def test_given_a_damaged_local_copy_then_it_is_fetched_again(
    database: Database, storage: Storage, registry: Registry, tmp_path: Path
) -> None:
    import_shipped(database, storage, ship(tmp_path / "release", 1, b"one"))
    weights = registry.local("lung", 1).folder / "weights.safetensors"
    weights.write_bytes(b"someone else's")

    again = registry.local("lung", 1)

    assert (again.folder / "weights.safetensors").read_bytes() == b"one"
    assert (again.name, again.version, again.manifest["version"]) == ("lung", 1, 1)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [again.folder.name], "nothing is left behind"


def test_given_bytes_that_the_storage_lost_then_the_model_is_unusable_and_the_text_says_what_to_do(
    database: Database, storage: Storage, registry: Registry, tmp_path: Path
) -> None:
    import_shipped(database, storage, ship(tmp_path / "release", 1, b"one"))
    for file in models.files(database, "lung", 1):
        storage.delete(file.digest)

    with pytest.raises(ModelUnusable, match="backup"):
        registry.local("lung", 1)
