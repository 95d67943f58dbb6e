"""A hashed table of vectors for pairs of consecutive tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACTOR = 2039
"""Prime by which the earlier token of a pair is multiplied."""


class PairEmbedding(nn.Module):
    """Vectors for the pairs that end at each token, zero at first; pairs of the same hash share a row."""

    def __init__(self, rows: int, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, d_model))

    def keys(self, tokens: Tensor) -> Tensor:
        """Rows (B, T) of the pairs of sequences (B, T); the first token of each is paired with itself."""
        before = torch.cat([tokens[:, :1], tokens[:, :-1]], 1)
        return (FACTOR * before + tokens) % len(self.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Sequences (B, T) to (B, T, D)."""
        return F.embedding(self.keys(tokens), self.weight)
