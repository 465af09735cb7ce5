"""What a job needs of a device, and the queue that follows: a device consumes the queues of what it can run.

The queues of each pool are `any`, `cpu`, `gpu`, and `gpu-16` and the like for models that need a GPU of some size. The
sizes are those on the cards' labels, in GiB; a tenth of each is left to the driver, which also is by how much a card
of "16 GB" may hold less than 16 GiB. A model that workers are set apart for has a queue of its own while one lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

GIB = 1 << 30

Device = Literal["any", "gpu", "cpu"]

ANY: Device = "any"
"""The queue of whatever runs anywhere; every worker consumes it, those of before there were others too."""

SIZES = (8, 16, 24, 48, 80, 96, 141)
"""Memory classes. More of them would cost every worker: Redis is asked for ten lists per queue."""

_OWN = "model-"

USABLE = 0.9
"""Of a card's nominal size, what a model may count on."""


def queue_for(device: Device, memory_bytes: int | None) -> str:
    """The queue of a job that needs such a device, and so many bytes of its memory (None: not declared).

    What needs no GPU is not sorted by size: where it does not fit, its worker hands it on.
    """
    if device != "gpu" or not memory_bytes:
        return device
    fitting = [size for size in SIZES if memory_bytes <= size * USABLE * GIB]
    return f"gpu-{fitting[0] if fitting else SIZES[-1]}"


def served(device: str, memory_bytes: int | None) -> list[str]:
    """The queues that a device ("cpu", or anything else for a GPU) of that size can serve, the most demanding first: at
    one priority, what only few workers can take goes before what all can."""
    if device == "cpu":
        return ["cpu", ANY]
    # What the driver does not tell of is taken for the smallest: it must not get what cannot fit.
    sizes = [size for size in SIZES if (memory_bytes or 0) >= size * USABLE * GIB]
    return [*(f"gpu-{size}" for size in reversed(sizes)), "gpu", ANY]


def all_queues() -> list[str]:
    """Every queue of a pool."""
    return [ANY, "cpu", "gpu", *(f"gpu-{size}" for size in SIZES)]


def own_queue(model: str, device: Device) -> str:
    """The queue of a model that workers are set apart for, of those of its versions that need such a device."""
    return f"{_OWN}{model}" if device == ANY else f"{device}-{_OWN}{model}"


def own_served(model: str, device: str) -> list[str]:
    """As `served`, of the queues of that model."""
    return [own_queue(model, "cpu" if device == "cpu" else "gpu"), own_queue(model, ANY)]


def model_of(queue: str) -> str | None:
    """The model whose own queue this is; None for a queue of several."""
    own = queue.removeprefix("cpu-").removeprefix("gpu-")
    return own.removeprefix(_OWN) if own.startswith(_OWN) else None


def declared(manifest: Mapping[str, Any]) -> tuple[Device | None, int | None]:
    """What a version's manifest says: its `device` and `memory_bytes`; None for what it does not say, or says wrong."""
    device, memory = manifest.get("device"), manifest.get("memory_bytes")
    known: dict[Any, Device] = {"any": "any", "gpu": "gpu", "cpu": "cpu"}
    usable = isinstance(memory, int) and not isinstance(memory, bool) and memory > 0
    return known.get(device) if isinstance(device, str) else None, memory if usable else None
