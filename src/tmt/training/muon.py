"""Muon with small matrices of one shape orthogonalised together, in batched products."""

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

BATCH_ELEMENTS = 2**20
"""Elements of the matrices in one batch (2 MB in bfloat16: stays in cache)."""


class Muon(torch.optim.Muon):
    """:class:`torch.optim.Muon` with its "original" learning rates, in batches of matrices."""

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
        averages = [self._average(p) for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        nesterov = torch.stack(torch._foreach_lerp(gradients, averages, momentum))
        updates = orthogonalised(nesterov, group["ns_coefficients"], group["ns_steps"], group["eps"])
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_add_(parameters, updates.unbind(), alpha=-lr * math.sqrt(max(1, rows / columns)))

    def _average(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def orthogonalised(
    matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Matrices (N, R, C) with their singular values moved near 1, bfloat16.

    Newton–Schulz: ``X ← aX + (bA + cA²)X`` with ``A = XXᵀ``, the short side first (Jordan et al., 2024).
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16().squeeze(0)
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=eps)
    multiply_add = torch.addmm if x.dim() == 2 else torch.baddbmm
    for _ in range(steps):
        gram = x @ x.mT
        x = multiply_add(x, multiply_add(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).view_as(matrices)
