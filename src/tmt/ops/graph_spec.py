"""How the mesh chooses neighbours; its operations are in :mod:`tmt.ops.mesh`."""

from dataclasses import dataclass
from typing import Literal

GraphKind = Literal["knn", "random", "recent", "none", "dense"]


@dataclass(frozen=True)
class GraphSpec:
    """How neighbours are chosen among the tokens before the local window."""

    kind: GraphKind = "knn"
    k: int = 8
    window: int = 16
    """Most recent tokens, the query itself included (at least 1); always seen, never chosen."""
    successors: bool = True
    """Beside neighbour j also keep j + 1, the token that followed it."""
    block: int = 64
    """Tokens per window of the hierarchical build."""
    k_global: int = 4
    """Complete past windows searched beside the query's own and the one before it."""
    exact_until: int = 512
    """Queries before this position search every past token; a rule of the position alone, so that a
    prefix never depends on what follows."""

    @property
    def width(self) -> int:
        """Columns of the neighbour table."""
        return self.k * (2 if self.successors else 1)

    def hierarchical_at(self, position: int) -> bool:
        """Whether a query at `position` searches windows instead of tokens."""
        return self.kind == "knn" and position >= self.exact_until

    @staticmethod
    def hash(position, j):
        """Pseudo-random rank in [0, 2^24) of token j for the query at `position` (ints or int64 tensors)."""
        mixed = (position * 2654435761 + j * 40503 + 12345) & 0x7FFFFFFF
        mixed = ((mixed ^ (mixed >> 13)) * 1103515245) & 0x7FFFFFFF
        return ((mixed ^ (mixed >> 16)) * 69069) & 0xFFFFFF
