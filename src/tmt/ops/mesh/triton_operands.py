"""What the Triton kernels of mesh attention are given: where tensors lie, and how large their tiles are.

Letters as in :mod:`tmt.ops.mesh.reference`. Not measured on a GPU.
"""

from typing import Any, NamedTuple

from torch import Tensor

from tmt.ops.mesh.types import MeshInputs

BLOCK = 32
"""Queries or keys of a tile."""
TILE_BYTES = 12288
"""Tiles of wider rows than fit have 16 rows, the least that matrix units take."""


class TokenRows(NamedTuple):
    """A (B, L, ...) tensor whose trailing axes lie together in memory: one row of numbers per token."""

    data: Tensor
    batch_stride: int
    token_stride: int


class Operands(NamedTuple):
    """What every kernel reads; an absent part is None."""

    q: TokenRows
    k: TokenRows
    v: TokenRows
    positions: Tensor
    """(B, T) int64, contiguous."""
    similarity_q: TokenRows | None
    similarity_k: TokenRows | None
    gain: Tensor | None
    forget_q: TokenRows | None
    forget_k: TokenRows | None
    decay_rate: Tensor | None
    neighbours: Tensor | None
    """(B, T, slots) int32, contiguous."""
    anchor_scores: TokenRows | None
    """(B, T, H, M)."""
    anchor_v: TokenRows | None
    scale: float
    window: int
    queries: int
    keys: int
    heads: int
    width: int
    routing: int
    slots: int
    anchors: int


class Upstream(NamedTuple):
    """What every kernel of the backward pass reads; contiguous."""

    grad_output: Tensor
    """(B, T, H, E)."""
    lse: Tensor
    """(B, T, H) float32."""
    delta: Tensor
    """(B, T, H) float32: grad_output · output, which the kernel of the queries writes for the others."""


def operands(inputs: MeshInputs) -> Operands:
    """What the kernels read, as it lies in memory where they can read it so."""
    batch, queries, heads, width = inputs.q.shape
    similarity, forget, anchors = inputs.similarity, inputs.forget, inputs.anchors
    neighbours = inputs.neighbours
    if neighbours is not None and neighbours.shape[2] == 0:
        neighbours = None
    return Operands(
        q=token_rows(inputs.q),
        k=token_rows(inputs.k),
        v=token_rows(inputs.v),
        positions=inputs.positions.contiguous(),
        similarity_q=None if similarity is None else token_rows(similarity.q),
        similarity_k=None if similarity is None else token_rows(similarity.k),
        gain=None if similarity is None else similarity.gain.contiguous(),
        forget_q=None if forget is None else token_rows(forget.q),
        forget_k=None if forget is None else token_rows(forget.k),
        decay_rate=None if inputs.decay_rate is None else inputs.decay_rate.contiguous(),
        neighbours=None if neighbours is None else neighbours.contiguous(),
        anchor_scores=None if anchors is None else token_rows(anchors.scores),
        anchor_v=None if anchors is None else token_rows(anchors.v.expand(batch, -1, -1, -1)),
        scale=width**-0.5,
        window=min(inputs.window, inputs.k.shape[1]),
        queries=queries,
        keys=inputs.k.shape[1],
        heads=heads,
        width=width,
        routing=0 if similarity is None else similarity.q.shape[2],
        slots=0 if neighbours is None else neighbours.shape[2],
        anchors=0 if anchors is None else anchors.count,
    )


def token_rows(x: Tensor) -> TokenRows:
    """`x` (B, L, ...) as it lies, copied only if a token's numbers do not lie together."""
    x = x if x[:1, :1].is_contiguous() else x.contiguous()
    return TokenRows(x, x.stride(0), x.stride(1))


def tile_sizes(inputs: MeshInputs) -> dict[str, Any]:
    """Sizes of a program's tiles."""
    similarity, anchors = inputs.similarity, inputs.anchors
    width = tile_width(inputs.q.shape[3])
    routing = tile_width(0 if similarity is None else similarity.q.shape[2])
    row_bytes = width * inputs.q.element_size()
    row_bytes += 0 if similarity is None else routing * similarity.q.element_size()
    block = BLOCK if BLOCK * row_bytes <= TILE_BYTES else 16
    anchor_block = min(block, tile_width(0 if anchors is None else anchors.count))
    return {"BLOCK": block, "ANCHORS": anchor_block, "WIDTH": width, "ROUTING": routing}


def tile_width(count: int) -> int:
    """The least size of a tile's axis that holds `count`: a power of two of at least 16, for matrix units."""
    return max(16, 1 << (count - 1).bit_length())
