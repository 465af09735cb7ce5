"""Packages of other people, installed by pip beside medjobs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def installed(project: Path, site: Path) -> Path:
    """Install the project (a folder with a pyproject.toml; pip builds in it) into the folder `site`, from no index."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--no-index", "--target", site, project], check=True)
    return site
