"""Muon with small matrices of one shape orthogonalised together, in batched products."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tmt import machine

BATCH_ELEMENTS = 2**20
"""Elements of the matrices in one batch (2 MB in bfloat16, 4 in float32: stays in cache)."""

SMALLEST_NORM = 1e-7
"""A row or a matrix with a smaller norm is not brought to norm 1: zeros stay zeros."""

Coefficients = Sequence[tuple[float, float, float]]

ORTHOGONALISERS: dict[str, Coefficients] = {
    "newton-schulz": 5 * [(3.4445, -4.7750, 2.0315)],
    "polar-express": [
        (8.15655, -22.48329, 15.87877),
        (4.04293, -2.80892, 0.500018),
        (3.89167, -2.77248, 0.506065),
        (3.28575, -2.36813, 0.464490),
        (2.34654, -1.70978, 0.423236),
    ],
}
"""One polynomial an iteration: Jordan et al. (2024); Amsel et al. (2025), which come nearer to 1."""


class Muon(Optimizer):
    """Momentum whose update of a matrix is made orthogonal (Jordan et al., 2024), in batches of matrices.

    With `buffer ← μ · buffer + G`, the update is that of `G + μ · buffer` with its singular values moved
    near 1, times √max(1, rows / columns); the weights decay by lr · weight_decay.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float = 0.02,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        equal_rows: bool = False,
        orthogonaliser: str = "newton-schulz",
    ):
        """`equal_rows` first brings every row (output feature) to norm 1, so that no loud one rules."""
        self.equal_rows, self.coefficients = equal_rows, ORTHOGONALISERS[orthogonaliser]
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self, closure=None) -> None:  # pyrefly: ignore[bad-override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            same_shape = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    same_shape[parameter.shape].append(parameter)
            for parameters in same_shape.values():
                size = max(1, BATCH_ELEMENTS // parameters[0].numel())
                for i in range(0, len(parameters), size):
                    self._update(parameters[i : i + size], group)

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        lr, momentum, (rows, columns) = group["lr"], group["momentum"], parameters[0].shape
        gradients = [p.grad for p in parameters]
        buffers = [self._buffer(p) for p in parameters]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        nesterov = torch.stack(torch._foreach_add(gradients, buffers, alpha=momentum))
        if self.equal_rows:
            nesterov /= nesterov.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)
        updates = orthogonalised(nesterov, self.coefficients)
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_add_(parameters, updates.unbind(), alpha=-lr * math.sqrt(max(1, rows / columns)))

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def orthogonalised(matrices: Tensor, coefficients: Coefficients) -> Tensor:
    """Matrices (N, R, C) with their singular values moved near 1; bfloat16 where that is fast, else float32.

    For each (a, b, c): ``X ← aX + (bA + cA²)X`` with ``A = XXᵀ``, the short side first.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    dtype = torch.bfloat16 if machine.multiplies_bf16(matrices.device) else torch.float32
    x = matrices.to(dtype).squeeze(0)
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=SMALLEST_NORM)
    multiply_add = torch.addmm if x.dim() == 2 else torch.baddbmm
    for a, b, c in coefficients:
        gram = x @ x.mT
        x = multiply_add(x, multiply_add(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).view_as(matrices)
