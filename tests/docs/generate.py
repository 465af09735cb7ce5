"""Write the generated tables of docs/ from the code; `python tests/docs/generate.py` after a change."""

from __future__ import annotations

import re
from pathlib import Path

from jobs.errors import codes
from jobs.settings import Settings

ROOT = Path(__file__).parents[2]


def settings_table() -> str:
    """Every setting as a row: variable, default, reason."""
    rows = ["| variable | default | why |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else str(field.default)
        rows.append(f"| `MEDJOBS_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def codes_table() -> str:
    """Every error code of a job or an item as a row: code, title, whether it is tried again, default text."""
    rows = ["| code | title | tried again | text |", "|---|---|---|---|"]
    for code, error in sorted(codes().items()):
        text = " ".join((error.__doc__ or "").split())
        rows.append(f"| `{code}` | {error.title} | {'yes' if error.retryable else 'no'} | {text} |")
    return "\n".join(rows)


TABLES = {"docs/operations.md": ("settings", settings_table), "docs/errors.md": ("codes", codes_table)}


def between(name: str) -> re.Pattern[str]:
    """Matches what stands between the markers of a generated table."""
    return re.compile(rf"(?<=<!-- {name}: generated -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


if __name__ == "__main__":
    for file, (name, table) in TABLES.items():
        path = ROOT / file
        path.write_text(between(name).sub(lambda _, t=table: t(), path.read_text()))
