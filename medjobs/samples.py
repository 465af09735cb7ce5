"""Where the example images are: beside the packages in a clone, inside the wheel elsewhere."""

from __future__ import annotations

from pathlib import Path


def chest_images() -> list[Path]:
    """The synthetic chest DICOMs that come with the installation, sorted by name; empty where there are none."""
    here = Path(__file__).resolve().parent
    for folder in (here.parent / "examples" / "data", here / "examples"):
        if found := sorted(folder.glob("*.dcm")):
            return found
    return []
