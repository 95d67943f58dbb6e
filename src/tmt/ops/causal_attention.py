"""Dense causal attention, a block of queries at a time, with the products on the bfloat16 matrix units.

PyTorch's CPU kernel multiplies in float32 registers, which costs more than twice the time of this one in
a bfloat16 training step where the processor has such units; where they are emulated, this one is up to 50
times slower. The reference is `torch.nn.functional.scaled_dot_product_attention`.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmt.ops.precision import at_least_float32

BLOCK = 128
"""Queries at once: their scores stay in cache, and a block skips the keys behind its last query."""


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention (B, T, H, E) of queries over the keys and values up to them, all (B, T, H, E)."""
    heads = (x.transpose(1, 2).flatten(0, 1) for x in (q * q.shape[-1] ** -0.5, k, v))
    return _CausalAttention.apply(*heads).unflatten(0, (len(q), -1)).transpose(1, 2)


class _CausalAttention(torch.autograd.Function):
    """Of queries, keys and values (B·H, T, E); the backward pass computes the weights a second time."""

    @staticmethod
    def forward(ctx, q, k, v):
        ctx.save_for_backward(q, k, v)
        output = torch.empty_like(q)
        for start in range(0, q.shape[1], BLOCK):
            end = start + BLOCK
            output[:, start:end] = _weights(q[:, start:end], k[:, :end]) @ v[:, :end]
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        q, k, v = ctx.saved_tensors
        grad_q = torch.empty_like(q)
        grad_k, grad_v = (at_least_float32(torch.zeros_like(x)) for x in (k, v))
        for start in range(0, q.shape[1], BLOCK):
            end = start + BLOCK
            queries, block = q[:, start:end], grad[:, start:end]
            p = _weights(queries, k[:, :end])
            grad_v[:, :end] += p.mT @ block
            grad_scores = torch._softmax_backward_data(block @ v[:, :end].mT, p, -1, p.dtype)
            grad_q[:, start:end] = grad_scores @ k[:, :end]
            grad_k[:, :end] += grad_scores.mT @ queries
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype)


def _weights(q: Tensor, k: Tensor) -> Tensor:
    """(B·H, N, S) attention of queries (B·H, N, E), the last N of the S keys' positions."""
    scores, n = q @ k.mT, q.shape[1]
    scores[..., -n:] += torch.full((n, n), -math.inf, dtype=q.dtype, device=q.device).triu(1)
    return torch.softmax(scores, -1, out=scores)
