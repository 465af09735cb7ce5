"""A zip of DICOM or PNG files with a table: labels.csv inside the zip, or as a second file.

Columns: path (in the zip), label, and if there patient and split; any further column is a subgroup. Frames are windowed
as a viewer would, cut by `fit` and resized exactly as the diagnosis kind does with the images it is asked about.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from imaging import parsing
from imaging.limits import DEFAULT_LIMITS
from imaging.reading import Image, read_image
from jobs.errors import DatasetInvalid, InputError
from models.data import declared, splitting
from models.data.archives import Budget, hidden
from models.data.canonical import ImageSet
from models.data.options import ImagesOptions
from models.data.problems import Notes, Problems, refuse
from models.data.tables import Table, read_table
from models.diagnosis.pixels import displayed, network_input

TABLE = "labels.csv"
_BROKEN = "The zip is damaged, encrypted or packed in a way that cannot be read; pack it again."
_RATIO, _FREE = 1000, 1 << 20
"""As imaging.limits: deflate cannot exceed about 1,030, uncompressed images reach 200."""


@dataclass
class _Read:
    """The images of the table's rows, in its order."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    good: list[bool] = field(default_factory=list)
    modalities: set[str] = field(default_factory=set)
    traits: dict[str, list[str]] = field(default_factory=dict)


def read(files: Sequence[Path], options: ImagesOptions, notes: Notes | None = None) -> ImageSet:
    """Read the zip. Raises `DatasetInvalid` that lists the files that cannot be read by their rows in the table."""
    notes = notes or Notes()
    if len(files) not in (1, 2):
        raise refuse("The format images takes a zip and, where it does not hold labels.csv, that table.")
    try:
        with zipfile.ZipFile(files[0]) as archive:
            budget = Budget(DEFAULT_LIMITS.max_archive_members, 512 << 20, DEFAULT_LIMITS.max_archive_bytes, 0)
            members = _members(archive, budget)
            table = read_table(files[1], 1) if len(files) == 2 else _inner_table(archive, members, budget)
            table.need(["path", "label"])
            found, places = _pictures(archive, budget, _paths(table, members, notes), table, options, notes)
    except DatasetInvalid:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
        raise refuse(_BROKEN, file=0) from None
    return _built(places, found, options, notes)


def _members(archive: zipfile.ZipFile, budget: Budget) -> dict[str, zipfile.ZipInfo]:
    """Path -> member, after a look at every name and claimed size."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        budget.member(info.filename)
        if info.is_dir() or hidden(info.filename):
            continue
        if info.file_size > _FREE and info.file_size > _RATIO * max(1, info.compress_size):
            raise refuse("A file of the zip unpacks absurdly (a zip bomb).", file=0)
        members[str(PurePosixPath(info.filename))] = info
    return members


def _inner_table(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], budget: Budget) -> Table:
    """labels.csv of the zip, which is taken out of `members`."""
    if TABLE not in members:
        raise refuse(f"The zip holds no {TABLE} at its top, and no table was sent as a second file.", file=0)
    with tempfile.TemporaryDirectory() as folder, archive.open(members.pop(TABLE)) as opened:
        path = Path(folder) / TABLE
        path.write_bytes(budget.read(opened))
        return read_table(path, 0)


def _paths(table: Table, members: dict[str, zipfile.ZipInfo], notes: Notes) -> list[zipfile.ZipInfo]:
    """The member of each row; raises where a row has none, or two rows have one."""
    problems = Problems()
    paths = [str(PurePosixPath(text or "")) for text in table.texts("path", problems).to_list()]
    absent = [row for row, path in zip(table.rows.tolist(), paths, strict=True) if path not in members]
    problems.rows("The file that this row names is not in the zip.", absent, file=table.file, column="path")
    times = Counter(paths)
    twice = [row for row, path in zip(table.rows.tolist(), paths, strict=True) if times[path] > 1]
    problems.rows("The file of this row has another row as well.", twice, file=table.file, column="path")
    problems.check()
    notes.warn("reading", "Files of the zip are in no row of the table; they were left out.", len(members) - len(paths))
    return [members[path] for path in paths]


def _pictures(
    archive: zipfile.ZipFile,
    budget: Budget,
    infos: Sequence[zipfile.ZipInfo],
    table: Table,
    options: ImagesOptions,
    notes: Notes,
) -> tuple[_Read, Table]:
    """Decode every row's image; the table keeps the rows whose image could be read."""
    found, problems = _Read(), Problems()
    for row, info in zip(table.rows.tolist(), infos, strict=True):
        with archive.open(info) as opened:
            data = budget.read(opened)
        try:
            _take(found, data, options)
            found.good.append(True)
        except InputError as error:
            problems.add(f"The image cannot be used: {error.detail}", file=table.file, row=row, column="path")
            found.good.append(False)
    if not options.skip_bad:
        problems.check()
    notes.warn("reading", "Images could not be read and were left out.", problems.count)
    if not found.images:
        raise refuse("None of the images can be read.", file=0)
    kept = np.array(found.good)
    return found, Table(table.frame.filter(kept), table.rows[kept], table.file)


def _take(found: _Read, data: bytes, options: ImagesOptions) -> None:
    """Add the image in `data`; raises `InputError`."""
    image = read_image(data)
    if len(image.frames) != 1:
        raise InputError("It has more than one frame; send each frame that counts as a file of its own.")
    contract = {"input": {"rows": options.size, "columns": options.size}, "fit": options.fit}
    found.images.append(network_input(displayed(image, 0), contract))
    found.digests.append(hashlib.sha256(data).digest())
    if image.header.modality:
        found.modalities.add(image.header.modality)
    for name, value in _traits(image, data).items():
        found.traits.setdefault(name, []).append(value)


def _traits(image: Image, data: bytes) -> dict[str, str]:
    """What a network could read off an image beside the patient: who made it and in which form."""
    header, manufacturer = image.header, ""
    if header.format == "DICOM":
        stated = parsing.parse(data, DEFAULT_LIMITS, pixels=False).dataset
        manufacturer = f"{stated.get('Manufacturer', '')} {stated.get('ManufacturerModelName', '')}".strip()
    return {
        "size": f"{header.rows} x {header.columns}",
        "PhotometricInterpretation": header.photometric_interpretation,
        "Modality": header.modality,
        "Manufacturer": manufacturer,
        "bits": str(header.bits_stored),
    }


def _built(table: Table, found: _Read, options: ImagesOptions, notes: Notes) -> ImageSet:
    problems = Problems()
    words = table.texts("label", problems)
    problems.check()
    classes = options.classes or tuple(sorted(words.unique().to_list()))
    unknown = ~words.is_in(list(classes)).to_numpy()
    problems.rows(
        "The label is none of options.classes.", table.rows[unknown].tolist(), file=table.file, column="label"
    )
    if options.positive is not None and options.positive not in classes:
        problems.add("options.positive is none of the labels.", file=table.file, column="label")
    columns = table.frame.columns
    has_patient = "patient" in columns
    named: list[str] = table.texts("patient", problems).to_list() if has_patient else []
    problems.check()
    patients = named or found.digests
    split = declared.parts(table, "split" if "split" in columns else None, patients, problems)
    codes = splitting.codes(splitting.keys(named))
    if has_patient:
        declared.one_part_each(table, "patient", codes, split, problems)
    free = [name for name in columns if name not in ("path", "label", "patient", "split")]
    groups, group_names = declared.groups(table, free, problems)
    problems.check()
    if not has_patient and "split" not in columns:
        detail = "There is no patient column: parts were drawn by image, and a patient may stand in several of them."
        notes.warn("leak", detail, len(patients))
    notes.traits.update({name: np.array(values) for name, values in found.traits.items()})
    places = {name: place for place, name in enumerate(classes)}
    labels = np.array([places[word] for word in words.to_list()], dtype=np.int64)
    keys = splitting.unique_keys(found.digests, split, labels)
    return ImageSet(
        split=split,
        key=keys,
        groups=groups,
        group_names=group_names,
        images=np.stack(found.images),
        labels=labels,
        patient=codes if has_patient else splitting.codes(keys),
        classes=classes,
        positive=options.positive,
        fit=options.fit,
        modalities=tuple(sorted(found.modalities)),
    )
