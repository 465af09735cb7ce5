"""A version's files as a folder of shipped models: `<to>/<name>/<number>/`, as models.catalogue reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

ALIASES, MANIFEST, PRODUCTION = "aliases.json", "manifest.json", "production"


def export(to: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes], number: int | None = None) -> Path:
    """Write the version and point `production` of the folder at it; return its folder.

    `manifest` as the registry answers it; `number` is the version's own unless given: a release counts its versions
    anew. Raises ValueError where a file's name leads out of the folder, or the manifest names no number.
    """
    name, count = str(manifest["name"]), number if number is not None else manifest.get("version")
    if not isinstance(count, int) or count < 1:
        raise ValueError("say which number the version is to have: its manifest has none")
    if not name or "/" in name or name.startswith("."):
        raise ValueError("the manifest's name is no folder name")
    folder = to / name / str(count)
    for path, content in files.items():
        place = PurePosixPath(path)
        if place.is_absolute() or ".." in place.parts or path == MANIFEST:
            raise ValueError("a file of the version has a name that cannot be written into its folder")
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**manifest, "version": count}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n")
    aliases = folder.parent / ALIASES
    known = json.loads(aliases.read_text()) if aliases.exists() else {}
    aliases.write_text(json.dumps({**known, PRODUCTION: count}) + "\n")
    return folder
