"""A part of a kind's parameters that another schema checks: which one is known only when the rest has been read."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

Part = TypeVar("Part", bound=BaseModel)

NESTED = "nested"
"""Type of the error; its `ctx` holds `model` and `error`, from which the API makes pointers into the part."""


def checked(model: type[Part], given: Any) -> Part:
    """`given` as `model`, for use in a validator of pydantic; strict as all parameters are."""
    try:
        return model.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        told = {"where": ".".join(map(str, first["loc"])), "what": first["msg"], "model": model, "error": error}
        raise PydanticCustomError(NESTED, "{where}: {what}", told) from None
