"""Feed-forward layers: MLP, SwiGLU, and the dual-stream layer of TMT."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.layers.linear import Linear
from tmt.layers.norm import RMSNorm
from tmt.ops import gelu, local_mix, swiglu
from tmt.ops.precision import at_least_float32


class MLP(nn.Module):
    """``W_out φ(W_in x + b_in) + b_out``. Rows (n, D) to (n, D)."""

    def __init__(self, d_model: int, hidden: int, activation: Literal["silu", "gelu"], dropout: float):
        """φ is SiLU, or GELU by its tanh approximation."""
        super().__init__()
        self.inner = Linear(d_model, hidden)
        self.activation = nn.SiLU() if activation == "silu" else nn.GELU(approximate="tanh")
        self.dropout = nn.Dropout(dropout)
        self.output = Linear(hidden, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(n, D) to (n, D)."""
        return self.output(self.dropout(self.activation(self.inner(x))))

    def flops(self, rows: int) -> int:
        """Operations for that many rows."""
        return 4 * rows * self.inner.weight.numel()


class SwiGLU(nn.Module):
    """``W_out (silu(W_gate x) ⊙ W_in x)`` (Shazeer, 2020). Rows (n, D) to (n, D)."""

    def __init__(self, d_model: int, hidden: int):
        super().__init__()
        self.gate = Linear(d_model, hidden, bias=False)
        self.inner = Linear(d_model, hidden, bias=False)
        self.output = Linear(hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, D) to (n, D)."""
        gate, inner = self.gate(x), self.inner(x)
        if swiglu.available(gate):
            return self.output.of(swiglu, gate, inner)
        return self.output(F.silu(gate) * inner)

    def flops(self, rows: int) -> int:
        """Operations for that many rows."""
        return 6 * rows * self.output.weight.numel()


class DualStreamFFN(nn.Module):
    """Two streams mixed by a gate per token: ``y = g ⊙ h_syntax + (1 − g) ⊙ h_semantics``.

    Each stream is ``W_out φ(W_in x)`` with φ = GELU and `hidden` units; ``g = σ(w · x + b)`` is one
    number a token. The published layer of the same name, at the FLOPs of one FFN of 2·`hidden` units.
    """

    def __init__(self, d_model: int, hidden: int):
        super().__init__()
        self.syntax = Linear(d_model, hidden, bias=False)
        self.semantics = Linear(d_model, hidden, bias=False)
        self.syntax_output = Linear(hidden, d_model, bias=False)
        self.semantics_output = Linear(hidden, d_model, bias=False)
        self.gate = nn.Linear(d_model, 1)

    def forward(self, syntax: Tensor, semantics: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (n, D) of the two streams; returns the output (n, D) and the gate (n,)."""
        gate = torch.sigmoid(at_least_float32(self.gate(semantics)))[:, 0]
        syntax, semantics = self.syntax(syntax), self.semantics(semantics)
        mixed = _gated(syntax, gate, self.syntax_output)
        return mixed + _gated(semantics, 1 - gate, self.semantics_output), gate

    def flops(self, rows: int) -> int:
        """Operations for that many rows."""
        return rows * (8 * self.syntax.weight.numel() + 2 * self.gate.weight.numel())


def _gated(x: Tensor, gate: Tensor, output: Linear) -> Tensor:
    """Output of GELU of x (n, W) times gate (n,): scaled here, the streams only need to be added."""
    if gelu.available(x):
        return output.of(gelu, x, gate)
    return output(F.gelu(x) * gate[:, None].to(x.dtype))


class LocalMix(nn.Module):
    """Per-channel mix of a token with the `width` − 1 before it: the input of the syntax stream.

    ``mix(x)_t = Σ_δ c_δ ⊙ x_{t−δ}``, starting as the identity.
    """

    def __init__(self, d_model: int, width: int = 4):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, d_model))
        nn.init.ones_(self.weight[0])

    @property
    def width(self) -> int:
        """Tokens mixed, the token itself included."""
        return self.weight.shape[0]

    def forward(
        self, x: Tensor, tail: Tensor, index: Tensor | None = None, norm: RMSNorm | None = None
    ) -> Tensor:
        """Mixes (n, D) of the tokens x (B, T, D) that `index` asks for, in the type of `x`.

        Args:
            x: (B, T, D).
            tail: (B, width − 1, D), the tokens before, in the type of `x`.
            index: (n,) int64 ascending rows b·T + t; None for all of them.
            norm: of the mixes; its input is not kept for the backward pass.
        """
        if local_mix.available(x, self.weight):
            settings = None if norm is None else (norm.weight, norm.eps)
            return local_mix.local_mix(x, tail, self.weight, index, settings)
        length, weight, seen = x.shape[1], self.weight.to(x.dtype), torch.cat([tail, x], 1)
        taps = (weight[d] * seen[:, self.width - 1 - d :][:, :length] for d in range(self.width))
        mixed = sum(taps, start=x.new_zeros(())).flatten(0, 1)
        mixed = mixed if index is None else mixed[index]
        return mixed if norm is None else norm(mixed)

    def flops(self, rows: int) -> int:
        """Operations for that many rows."""
        return 2 * rows * self.weight.numel()
