"""What data sets, models and aliases may be called: names that stand in URLs, references and file names as they are."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
ALIAS = re.compile(r"[a-z][a-z0-9-]{0,31}")
"""Begins with a letter: `name@3` is a version and no alias."""

NAME_RULE = "Use 1 to 100 letters, digits, dots, hyphens and underscores, a letter or digit first."
ALIAS_RULE = "Use 1 to 32 lower-case letters, digits and hyphens, a letter first."

Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
