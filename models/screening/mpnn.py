"""A directed message passing network over the bonds of a molecule (Yang et al., J. Chem. Inf. Model. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.screening.graphs import ATOM, BOND, GraphBatch


class Mpnn(nn.Module):
    """Each directed bond gathers what arrives at its source, except from itself; atoms sum their bonds; molecules are
    the mean of their atoms.
    """

    def __init__(self, targets: int, hidden: int, steps: int, dropout: float) -> None:
        super().__init__()
        self.steps = steps
        self.begin = nn.Linear(ATOM + BOND, hidden, bias=False)
        self.message = nn.Linear(hidden, hidden, bias=False)
        self.atom = nn.Linear(ATOM + hidden, hidden)
        self.drop = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden, hidden)
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
        mean = whole / torch.bincount(graphs.owner, minlength=graphs.count)[:, None]
        logits: Tensor = self.head(self.drop(self.dense(self.drop(mean)).relu()))
        return logits


def build(config: Mapping[str, Any]) -> Mpnn:
    """The untrained network of a configuration, as a manifest keeps it."""
    return Mpnn(**config)
