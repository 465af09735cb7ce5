"""The `inputs` of a submission, checked against what the kind takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from api.problems import FieldError, pointer
from api.validation import field_errors
from jobs.ids import DIGEST
from jobs.kinds import Kind

NOT_AN_ID = 'Give a file id: "sha256:" and 64 hex digits in lower case, as POST /v1/files answers.'
NOT_AN_INPUT = 'Give a file id, {"series": [ids]}, {"archive": id} or {"data": {...}}.'
LONGEST_SERIES = 10_000


class Inputs:
    """Checks one submission's inputs; `digests` are the files they name, each once, in order of appearance."""

    def __init__(self, kind: Kind, place: Sequence[str | int]) -> None:
        """`place` is where the inputs stand in the body."""
        self.kind, self.prefix = kind, tuple(place)
        self.digests: dict[str, tuple[str | int, ...]] = {}
        self.errors: list[FieldError] = []

    def check(self, inputs: Sequence[Any]) -> None:
        """Look at every input; what is wrong is in `errors` afterwards."""
        if not self.kind.min_inputs <= len(inputs) <= self.kind.max_inputs:
            self._wrong((), f"The kind {self.kind.name} takes {self._bounds()}.")
            return
        for position, entry in enumerate(inputs):
            self._entry(entry, position)

    def _bounds(self) -> str:
        low, high = self.kind.min_inputs, self.kind.max_inputs
        if high == 0:
            return "no inputs; leave them out"
        return f"{low} inputs" if low == high else f"{low} to {high} inputs"

    def _entry(self, entry: Any, position: int) -> None:
        if isinstance(entry, str):
            self._file(entry, (position,))
            return
        names = set(entry) if isinstance(entry, dict) else set()
        if names == {"archive"}:
            self._file(entry["archive"], (position, "archive"))
        elif names == {"series"}:
            self._series(entry["series"], (position, "series"))
        elif names == {"data"}:
            self._data(entry["data"], (position, "data"))
        else:
            self._wrong((position,), NOT_AN_INPUT)

    def _file(self, digest: Any, place: tuple[str | int, ...]) -> None:
        if not self.kind.files:
            self._wrong(place, f'The kind {self.kind.name} takes no files; give {{"data": {{...}}}}.')
        elif not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            self._wrong(place, NOT_AN_ID)
        else:
            self.digests.setdefault(digest, (*self.prefix, *place))

    def _series(self, digests: Any, place: tuple[str | int, ...]) -> None:
        if not isinstance(digests, list) or not 1 <= len(digests) <= LONGEST_SERIES:
            self._wrong(place, f"A series is an array of 1 to {LONGEST_SERIES} file ids.")
            return
        for position, digest in enumerate(digests):
            self._file(digest, (*place, position))

    def _data(self, data: Any, place: tuple[str | int, ...]) -> None:
        if self.kind.data is None:
            self._wrong(place, f"The kind {self.kind.name} takes files, not inline data; upload the bytes.")
            return
        try:
            self.kind.data.model_validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            self.errors += field_errors(error, self.kind.data, data, (*self.prefix, *place))

    def _wrong(self, place: tuple[str | int, ...], detail: str) -> None:
        self.errors.append(FieldError(pointer(*self.prefix, *place), detail))


def digests(inputs: Sequence[Any]) -> list[str]:
    """The files that checked inputs name, each once."""
    found: list[str] = []
    for entry in inputs:
        if isinstance(entry, str):
            found.append(entry)
        elif "series" in entry:
            found += entry["series"]
        elif "archive" in entry:
            found.append(entry["archive"])
    return list(dict.fromkeys(found))
