"""Parameters that name something else: a data set or a model version. They are pinned when the job is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jobs.kinds import Params

Named = Literal["dataset", "version"]


@dataclass(frozen=True)
class Names:
    """Marks a field: `dataset: Annotated[str, Names("dataset")]`. A name may be taken anew; a job keeps its pin."""

    what: Named


def references(params: type[Params]) -> Mapping[str, Named]:
    """The fields of `params` that name something, and what."""
    return {
        name: mark.what
        for name, field in params.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Names)
    }
