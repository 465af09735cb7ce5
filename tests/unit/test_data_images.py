"""The images format: a zip of DICOM and PNG with its table, the same pixels as the diagnosis kind, and bad archives."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from imaging.reading import read_image
from imaging.writing import secondary_capture
from jobs.errors import DatasetInvalid
from models.data.canonical import ImageSet
from models.data.formats.images import read
from models.data.options import ImagesOptions
from models.data.problems import Notes
from models.diagnosis.pixels import displayed, network_input


def pixels(seed: int, rows: int = 60, columns: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns)).astype(np.uint8)


def png(seed: int, **size: int) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(pixels(seed, **size)).save(out, "PNG")
    return out.getvalue()


def dicom(seed: int) -> bytes:
    words = {"series_description": "SYNTHETIC", "derivation_description": "noise", "patient_id": "S", "modality": "CR"}
    return secondary_capture(pixels(seed), **words)


TABLE = "path,label,patient,split,Site\na.png,ill,p1,train,x\nd/b.dcm,well,p1,train,x\nc.png,ill,p2,validation,y\n"
FILES = {"a.png": png(1), "d/b.dcm": dicom(2), "c.png": png(3)}


def zipped(folder: Path, files: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "set.zip"


def loaded(
    folder: Path, files: dict[str, bytes | str] | None = None, table: str = TABLE, **options: object
) -> ImageSet:
    notes = options.pop("notes", None)
    path = zipped(folder, {**(FILES if files is None else files), "labels.csv": table})
    return read([path], ImagesOptions(**options), notes)


def problems(folder: Path, files: dict[str, bytes | str] | None = None, table: str = TABLE) -> list[dict]:
    with pytest.raises(DatasetInvalid) as refused:
        loaded(folder, files, table)
    assert "p1" not in refused.value.detail + str(refused.value.facts)
    return refused.value.facts["problems"]


@pytest.mark.parametrize("fit", ["whole", "centre-square"])
def test_images_are_what_the_diagnosis_kind_would_feed_its_network(tmp_path: Path, fit: str) -> None:
    notes = Notes()
    found = loaded(tmp_path, fit=fit, notes=notes)
    contract = {"fit": fit, "input": {"rows": 28, "columns": 28}}
    for place, content in enumerate(FILES.values()):
        assert (found.images[place] == network_input(displayed(read_image(content), 0), contract)).all()
    assert found.classes == ("ill", "well")
    assert found.labels.tolist() == [0, 1, 0]
    assert found.patient[0] == found.patient[1] != found.patient[2]
    assert found.split.tolist() == [0, 0, 1]
    assert (found.group_names["Site"], found.groups["Site"].tolist()) == (("x", "y"), [0, 0, 1])
    assert (found.fit, found.modalities) == (fit, ("CR",))


def test_the_table_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(TABLE)
    found = read([zipped(tmp_path, FILES), tmp_path / "labels.csv"], ImagesOptions(classes=("well", "ill"), size=64))
    assert found.labels.tolist() == [1, 0, 1]
    assert found.images.shape == (3, 64, 64)


def test_without_a_patient_column_copies_stay_in_one_part_and_a_warning_says_what_is_missing(tmp_path: Path) -> None:
    notes = Notes()
    files = {f"{n}.png": png(n // 2) for n in range(40)}
    table = "path,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(40))
    found = loaded(tmp_path, files, table, notes=notes)
    assert (found.split[::2] == found.split[1::2]).all()
    assert len(set(found.key.tolist())) == 40
    assert any("no patient column" in warning["detail"] for warning in notes.warnings)


def test_a_patient_in_two_parts_is_refused_by_row(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, table=TABLE.replace("p2", "p1"))
    assert (found["row"], found["column"]) == (4, "patient")


def test_a_path_that_is_not_in_the_zip_is_refused_and_a_file_without_row_is_told(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, {name: FILES[name] for name in ("a.png", "c.png")})
    assert (found["row"], found["column"]) == (3, "path")
    notes = Notes()
    loaded(tmp_path, {**FILES, "extra.png": png(9), "__MACOSX/._a.png": b"x", ".DS_Store": b"x"}, notes=notes)
    assert [w["count"] for w in notes.warnings if "no row of the table" in w["detail"]] == [1]


def test_unreadable_images_are_listed_or_left_out_as_asked(tmp_path: Path) -> None:
    broken = {**FILES, "d/b.dcm": b"no image", "e.png": png(4)}
    table = TABLE + "e.png,well,p3,train,x\n"
    (found,) = problems(tmp_path, broken, table)
    assert (found["row"], found["column"]) == (3, "path")
    notes = Notes()
    kept = loaded(tmp_path, broken, table, skip_bad=True, notes=notes)
    assert kept.labels.tolist() == [0, 0, 1]
    assert [w["count"] for w in notes.warnings if "could not be read" in w["detail"]] == [1]


@pytest.mark.parametrize(
    ("files", "table", "words"),
    [
        ({"../a.png": b"x"}, TABLE, "leads upwards"),
        ({"/a.png": b"x"}, TABLE, "absolute"),
        ({"C:\\a.png": b"x"}, TABLE, "absolute"),
        ({"a.png": b"\0" * (8 << 20)}, TABLE, "zip bomb"),
        (None, TABLE.replace("label", "klass"), "no column label"),
        (None, TABLE.replace("well", ""), "empty"),
        (None, TABLE.replace("c.png", "a.png"), "another row"),
        (None, TABLE.replace("validation", "holdout"), "train, validation or test"),
    ],
)
def test_bad_archives_and_tables_are_refused(
    tmp_path: Path, files: dict[str, bytes | str] | None, table: str, words: str
) -> None:
    assert words in problems(tmp_path, files, table)[0]["detail"]


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, {**FILES, "labels.csv": TABLE})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DatasetInvalid, match="damaged"):
        read([path], ImagesOptions())


def test_a_zip_whose_size_is_a_lie_does_not_unpack_more_than_it_may(tmp_path: Path) -> None:
    whole = zipped(tmp_path, {**FILES, "labels.csv": TABLE}).read_bytes()
    place = whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"labels.csv"))  # The directory's entry of the table.
    lie = whole[: place + 24] + (5).to_bytes(4, "little") + whole[place + 28 :]
    (tmp_path / "set.zip").write_bytes(lie)
    with pytest.raises(DatasetInvalid):
        read([tmp_path / "set.zip"], ImagesOptions())
