"""Feed-forward layers: SwiGLU, and the dual-stream layer of TMT (specs: TMT §6)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.ops.precision import at_least_float32


class SwiGLU(nn.Module):
    """``W_out (silu(W_gate x) ⊙ W_in x)`` (Shazeer, 2020). Rows (n, D) to (n, D)."""

    def __init__(self, d_model: int, hidden: int):
        super().__init__()
        self.gate = nn.Linear(d_model, hidden, bias=False)
        self.inner = nn.Linear(d_model, hidden, bias=False)
        self.output = nn.Linear(hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, D) to (n, D)."""
        return self.output(F.silu(self.gate(x)) * self.inner(x))

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
        self.syntax = nn.Linear(d_model, hidden, bias=False)
        self.semantics = nn.Linear(d_model, hidden, bias=False)
        self.syntax_output = nn.Linear(hidden, d_model, bias=False)
        self.semantics_output = nn.Linear(hidden, d_model, bias=False)
        self.gate = nn.Linear(d_model, 1)

    def forward(self, syntax: Tensor, semantics: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (n, D) of the two streams; returns the output (n, D) and the gate (n,)."""
        gate = torch.sigmoid(at_least_float32(self.gate(semantics))).to(semantics.dtype)
        syntax = self.syntax_output(F.gelu(self.syntax(syntax)))
        semantics = self.semantics_output(F.gelu(self.semantics(semantics)))
        return semantics + gate * (syntax - semantics), gate[:, 0]

    def flops(self, rows: int) -> int:
        """Operations for that many rows."""
        return rows * (8 * self.syntax.weight.numel() + 2 * self.gate.weight.numel())


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

    def forward(self, x: Tensor) -> Tensor:
        """(B, width − 1 + T, D), the past in front, to (B, T, D), in the type of `x`."""
        length, weight = x.shape[1] - self.width + 1, self.weight.to(x.dtype)
        taps = (weight[d] * x[:, self.width - 1 - d :][:, :length] for d in range(self.width))
        return sum(taps, start=x.new_zeros(()))

    def flops(self, rows: int) -> int:
        """Operations for that many rows."""
        return 2 * rows * self.weight.numel()
