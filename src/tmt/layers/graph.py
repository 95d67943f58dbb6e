"""Who the neighbours of a token are, in the mesh of a layer."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from tmt.layers.cache import Cache
from tmt.ops.mesh import (
    ForgetBias,
    GraphSpec,
    SimilarityBias,
    build_graph,
    checked_neighbours,
    earliest_audible,
    graph_flops,
    graph_impl,
)
from tmt.ops.precision import at_least_float32


class Graph:
    """Neighbours as the configuration has them; a subclass may :meth:`choose` others."""

    def __init__(self, spec: GraphSpec) -> None:
        self.spec = spec

    def choose(self, routing_q: Tensor, routing_k: Tensor, positions: Tensor, spec: GraphSpec) -> Tensor:
        """Neighbours of every query, for a subclass to choose.

        What is chosen for a query must follow from itself, its position and the keys up to it, or decoding
        and the whole text differ; `tmt verify` tells. Products differ in their last bits with the number of
        tokens, and repeated tokens tie: round before comparing, and let the place decide a tie.

        Args:
            routing_q: (B, T, R) routing vectors of the queries, at least float32 and without gradients;
                autocast rounds nothing here.
            routing_k: (B, S, R) those of positions 0..S−1.
            positions: (B, T) int64 position of every query.
            spec: sizes; the `spec.window` tokens up to the query are seen anyway.

        Returns:
            (B, T, spec.width) integers, −1 for none: different positions up to ``position − spec.window``.
        """
        raise NotImplementedError

    def flops(self, positions: Tensor, width: int, weight: Tensor, window: int) -> float:
        """Operations of choosing for queries at `positions` (B, T); NaN where a subclass does not say it.

        Args: routing vectors of `width`, on the device and of the type of `weight`; the window's tokens.
        """
        if self.is_own:
            return math.nan
        spec = replace(self.spec, window=window)
        return graph_flops(positions, width, spec, graph_impl(weight, spec))

    @property
    def is_own(self) -> bool:
        """Whether a subclass chooses."""
        return type(self).choose is not Graph.choose

    def impl(self, weight: Tensor) -> str:
        """The path that it takes for weights of that device and type, or the name of the subclass."""
        return type(self).__name__ if self.is_own else graph_impl(weight, self.spec)

    def neighbours(
        self,
        similarity: SimilarityBias,
        forget: ForgetBias | None,
        positions: Tensor,
        window: int,
        cache: Cache,
    ) -> Tensor:
        """(B, T, spec.width) int32 of the queries at `positions` (B, T), −1 where there are fewer.

        Raises:
            InputError: a subclass chooses what is no neighbour.
        """
        spec = replace(self.spec, window=window)
        if self.is_own:
            q, k = (at_least_float32(vectors.detach()) for vectors in (similarity.q, similarity.k))
            with torch.autocast(q.device.type, enabled=False):
                chosen = self.choose(q, k, positions, spec)
            return checked_neighbours(chosen, positions, spec, type(self).__name__)
        earliest = None if forget is None else earliest_audible(forget.q, forget.k, positions)
        means = cache.block_means(similarity.k, spec.block) if spec.kind == "knn" else None
        return build_graph(similarity.q, similarity.k, positions, spec, earliest, means)
