"""The processes that share one training: rank 0 is the job's own, the others are its children and do as it does."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


class Done(BaseException):
    """Ends a rank above 0 when the last fit is over: what follows is rank 0's alone."""


class Ranks:
    """One process alone, and the base of several."""

    rank = 0
    world = 1

    def share(self, content: bytes | None) -> bytes:
        """What rank 0 hands in, on every rank; the others hand in None."""
        assert content is not None
        return content

    def say(self, message: Mapping[str, object] | None) -> dict[str, object]:
        """The same for JSON."""
        heard: dict[str, object] = json.loads(self.share(None if message is None else json.dumps(message).encode()))
        return heard

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the ranks of a number that each has computed on its share."""
        return value

    def check(self) -> None:
        """Raises where another rank has died."""

    def end(self) -> None:
        """The last fit is over: the others are needed no more. Raises `Done` on every rank but 0."""


class Group(Ranks):
    """A rank of a process group that torch.distributed has joined."""

    def __init__(self, rank: int, world: int, device: str) -> None:
        """`device` as torch names it: where the bytes that are shared pass through."""
        self.rank, self.world, self._device = rank, world, device

    def share(self, content: bytes | None) -> bytes:
        """Broadcast as bytes: torch's own way for objects would pickle them."""
        length = torch.tensor([len(content or b"")], device=self._device)
        dist.broadcast(length, 0)
        buffer = torch.empty(int(length), dtype=torch.uint8)
        if content:
            buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        buffer = buffer.to(self._device)
        if len(buffer):
            dist.broadcast(buffer, 0)
        return buffer.cpu().numpy().tobytes()

    def mean(self, value: Tensor) -> Tensor:
        """All ranks take part."""
        total = value.clone()
        dist.all_reduce(total)
        return total / self.world

    def end(self) -> None:
        """Leave the group; the world is this process alone from here on."""
        dist.destroy_process_group()
        self.world = 1
        if self.rank > 0:
            raise Done
