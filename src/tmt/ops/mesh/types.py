"""What goes into the mesh operations. Letters as in :mod:`tmt.ops.mesh.reference`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tmt.ops.graph_spec import GraphKind as GraphKind
from tmt.ops.graph_spec import GraphSpec as GraphSpec
from tmt.ops.precision import at_least_float32


@dataclass
class SimilarityBias:
    """The bias β_h · (q_i · k_j): how much head h prefers tokens that route alike."""

    q: Tensor
    """(B, T, R) routing vectors of the queries."""
    k: Tensor
    """(B, S, R) routing vectors of the keys."""
    gain: Tensor
    """(H,) β."""


@dataclass
class ForgetBias:
    """The bias q_ih − k_jh: what the forget gates let through from key j to query i."""

    q: Tensor
    """(B, T, H) cumulative log gate at the queries."""
    k: Tensor
    """(B, S, H) cumulative log gate at the keys."""


@dataclass
class Anchors:
    """Memory anchors: seen by every query, without position, decay or bias."""

    scores: Tensor
    """(B, T, H, M) logits, in at least float32, as :func:`anchor_scores` makes them."""
    v: Tensor
    """(1 or B, M, H, E) values."""

    @property
    def count(self) -> int:
        """M, the number of anchors."""
        return self.v.shape[1]


def anchor_scores(q: Tensor, keys: Tensor) -> Tensor:
    """Logits (B, T, H, M) of anchors with keys (1 or B, M, H, E) for queries (B, T, H, E): q·k/√E.

    The keys have no position: only a query before its rotation scores them alike wherever it stands.
    """
    with torch.autocast(q.device.type, enabled=False):
        q, keys = at_least_float32(q), at_least_float32(keys) * q.shape[-1] ** -0.5
        return (q.transpose(1, 2) @ keys.permute(0, 2, 3, 1)).transpose(1, 2).contiguous()


@dataclass
class MeshInputs:
    """Everything mesh attention reads. Optional parts are switched off by None.

    Neighbour entries of one query are distinct, in the past, and outside the window (−1: no neighbour).
    """

    q: Tensor
    """(B, T, H, E) queries, rotated and normalised."""
    k: Tensor
    """(B, S, H, E) keys of positions 0..S−1."""
    v: Tensor
    """(B, S, H, E) values."""
    positions: Tensor
    """(B, T) int64, the position of each query among the keys; never falling along a row."""
    window: int
    """Most recent tokens that are always seen, the query itself included (at least 1)."""
    neighbours: Tensor | None = None
    """(B, T, K) int32 key positions."""
    similarity: SimilarityBias | None = None
    forget: ForgetBias | None = None
    decay_rate: Tensor | None = None
    """(H,) ≥ 0: weights are multiplied by 2σ(−rate·distance) after the softmax, not renormalised."""
    anchors: Anchors | None = None
    whole: bool = False
    """Multiply all keys, masked, without a look at which of them the positions reach."""


@dataclass
class Gradients:
    """Gradients of :class:`MeshInputs`, each of its input's shape and type; None where the part is absent."""

    q: Tensor
    k: Tensor
    v: Tensor
    similarity_q: Tensor | None = None
    similarity_k: Tensor | None = None
    gain: Tensor | None = None
    forget_q: Tensor | None = None
    forget_k: Tensor | None = None
    decay_rate: Tensor | None = None
    anchor_scores: Tensor | None = None
    anchor_v: Tensor | None = None
