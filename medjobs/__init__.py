"""medjobs: what a user types or imports. `medjobs.Client` is the Python client; the `medjobs` command is in main.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medjobs.client import Client, Job, MedjobsError

__all__ = ["Client", "Job", "MedjobsError", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazily, so that `medjobs --help` pays neither for httpx nor for reading the installed metadata.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("medjobs")
        except PackageNotFoundError:
            return "0+unknown"
    if name in __all__:
        from medjobs import client

        return getattr(client, name)
    raise AttributeError(f"module 'medjobs' has no attribute {name!r}")
