"""`medjobs storage copy`: all files of an installation, from a folder to a bucket (moto's server) and back."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jobs.errors import StorageUnavailable
from medjobs.commands.storage import storage as command
from storage import copying
from storage.disk import Disk
from storage.files import Storage
from tests.services.s3 import S3Server

JOB = "0198c2a4-0000-7000-8000-000000000003"
SMALL, LARGE = b"pixels", os.urandom(1 << 20) * 17
"""The second goes to a bucket in parts."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage with two uploads, an artifact two steps deep and a checkpoint."""
    monkeypatch.setenv("MEDJOBS_HOME", str(tmp_path / "home"))
    filled = Storage(str(tmp_path / "files"))
    filled.put([SMALL], 100)
    filled.put([LARGE], len(LARGE))
    filled.put_artifacts([(JOB, 2, "items/3/overlay.png", b"drawn")])
    filled.checkpoints(JOB, 1).save({"weights": b"w"}, {"step": 7})
    return tmp_path / "files"


def typed(*words: object) -> Result:
    return CliRunner().invoke(command, ["copy", *map(str, words)], standalone_mode=False)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_given_a_filled_folder_when_copied_to_a_bucket_and_back_then_every_file_is_there_with_its_bytes(
    folder: Path, s3: S3Server, tmp_path: Path
) -> None:
    done = typed(folder, s3.url())
    assert done.exception is None
    assert done.output.startswith("5 files (17")
    assert {key.removeprefix("prefix/") for key in s3.keys("")} == set(files(folder))
    moved = Storage(s3.url(), tmp_path / "cache")
    assert moved.intact(digest(SMALL))
    assert moved.intact(digest(LARGE))
    assert moved.checkpoints(JOB, 3).newest() == ({"weights": b"w"}, {"step": 7})
    assert typed(s3.url(), tmp_path / "back").exception is None
    assert files(tmp_path / "back") == files(folder)


def test_given_a_copy_that_was_cut_off_when_typed_again_then_only_the_rest_goes(
    folder: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, left = Disk.publish, 4
    """Bound to happen once for the look at the target, and for three files."""
    monkeypatch.setattr(copying, "AT_ONCE", 1)

    def full(self: Disk, *arguments: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StorageUnavailable("The disk is full.")
        published(self, *arguments)  # type: ignore[arg-type]

    target = folder.parent / "copy"
    monkeypatch.setattr(Disk, "publish", full)
    stopped = typed(folder, target)
    assert "The copy stopped: The disk is full." in str(stopped.exception)
    monkeypatch.setattr(Disk, "publish", published)
    assert "2 files" in (again := typed(folder, target)).output
    assert "3 were there already" in again.output
    assert files(target) == files(folder)


def test_given_an_upload_that_is_damaged_when_copied_then_it_is_named_and_left_out_and_the_rest_goes(
    folder: Path, s3: S3Server
) -> None:
    path = f"blobs/{digest(SMALL)[7:9]}/{digest(SMALL)[9:]}"
    (folder / path).write_bytes(b"pixelz")
    done = typed(folder, s3.url())
    assert "What is named above (1) is not what its name says" in str(done.exception)
    assert path in done.output
    assert len(s3.keys()) == 4
    assert f"prefix/{path}" not in s3.keys("prefix")


def test_what_others_put_into_the_folder_stays_there(folder: Path, s3: S3Server) -> None:
    for name in ("blobs/ab/.DS_Store", "blobs/ab/notes.txt", "tmp/half", "readme"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert typed(folder, s3.url()).output.startswith("5 files")


def test_mistakes_are_named_and_make_nothing(folder: Path, tmp_path: Path, s3: S3Server) -> None:
    assert "There is no folder" in str(typed(tmp_path / "nowhere", s3.url()).exception)
    assert not (tmp_path / "nowhere").exists()
    assert "the same storage" in str(typed(folder, f"file://{folder}").exception)
    (tmp_path / "empty").mkdir()
    assert "There is no file in" in str(typed(tmp_path / "empty", s3.url()).exception)
    assert list((tmp_path / "empty").iterdir()) == []
    assert "s3://another" in str(typed(folder, "s3://another/prefix").exception)
    assert "Protocol not known" in str(typed(folder, "what://x/y").exception)
