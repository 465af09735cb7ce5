"""A directed message passing network over the bonds of a molecule (Yang et al., J. Chem. Inf. Model. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.screening.graphs import ATOM, BOND, GraphBatch

FARTHEST, LEAST_SPREAD = 4.0, 1e-6


class Mpnn(nn.Module):
    """Each directed bond gathers what arrives at its source, except from itself; atoms sum their bonds; molecules are
    the mean of their atoms, beside it `descriptors` numbers of the molecule as a whole, each at most FARTHEST spreads
    of the training molecules from their mean (as Yang et al. add RDKit's).
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, targets: int, hidden: int, steps: int, dropout: float, descriptors: int = 0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(descriptors))
        self.register_buffer("spread", torch.ones(descriptors))
        self.steps = steps
        self.begin = nn.Linear(ATOM + BOND, hidden, bias=False)
        self.message = nn.Linear(hidden, hidden, bias=False)
        self.atom = nn.Linear(ATOM + hidden, hidden)
        self.drop = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden + descriptors, hidden)
        self.head = nn.Linear(hidden, targets)

    def forward(self, graphs: GraphBatch) -> Tensor:
        """A batch of graphs to (B, targets)."""
        size = len(graphs.atoms)
        first = self.begin(torch.cat([graphs.atoms[graphs.source], graphs.bonds], dim=1))  # (E, hidden)
        state = first.relu()
        backwards = torch.arange(len(state), device=state.device) ^ 1
        for _ in range(self.steps - 1):
            arriving = state.new_zeros(size, state.shape[1]).index_add_(0, graphs.target, state)
            state = (first + self.message(arriving[graphs.source] - state[backwards])).relu()
            state = self.drop(state)
        arriving = state.new_zeros(size, state.shape[1]).index_add_(0, graphs.target, state)
        atoms = self.drop(self.atom(torch.cat([graphs.atoms, arriving], dim=1)).relu())  # (A, hidden)
        whole = atoms.new_zeros(graphs.count, atoms.shape[1]).index_add_(0, graphs.owner, atoms)
        read = whole / torch.bincount(graphs.owner, minlength=graphs.count)[:, None]
        if len(self.centre):
            placed = ((graphs.whole - self.centre) / self.spread).nan_to_num(0.0).clamp(-FARTHEST, FARTHEST)
            read = torch.cat([read, placed], dim=1)
        logits: Tensor = self.head(self.drop(self.dense(self.drop(read)).relu()))
        return logits

    def measure(self, descriptors: Tensor) -> None:
        """Take centre and spread from those of the training molecules (N, descriptors), NaN where undefined."""
        known = ~descriptors.isnan()
        count = known.sum(dim=0).clamp_min(1)
        self.centre.copy_(descriptors.nan_to_num().sum(dim=0) / count)
        around = torch.where(known, descriptors - self.centre, 0.0)
        self.spread.copy_((around.square().sum(dim=0) / count).sqrt())
        # What is the same in all of them tells nothing, and must not be blown up where it differs later.
        self.spread[self.spread < LEAST_SPREAD] = torch.inf


def build(config: Mapping[str, Any]) -> Mpnn:
    """The untrained network of a configuration, as a manifest keeps it."""
    return Mpnn(**config)
