"""A kernel written as a small diagonal state: some taps as they are, then a sum of exponentials."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tmt.errors import InputError


@dataclass(frozen=True, eq=False)
class DiagonalKernel:
    """The kernel ``w[k] = head[k]`` for k < s and ``Re Σ_j c_j λ_j^(k−s)`` from there on.

    Its causal product runs as a recurrence per channel, with one complex number per mode:
    ``q_j ← λ_j q_j + x[t−s]`` and ``y[t] = Σ_{k<s} head[k] x[t−k] + Re Σ_j c_j q_j``.
    Of two conjugate modes only the one with Im λ > 0 is kept, its coefficient doubled; a real mode has
    a real coefficient.
    """

    head: Tensor
    """(s,) float64 taps kept as they are."""
    modes: Tensor
    """(m,) complex128 λ, Im λ ≥ 0."""
    coefficients: Tensor
    """(m,) complex128 c."""

    @property
    def order(self) -> int:
        """Real dimension of the state: 2 for a conjugate pair, 1 for a real mode."""
        return len(self.modes) + int((self.modes.imag != 0).sum())

    def kernel(self, length: int) -> Tensor:
        """(length,) float64 taps; the formula goes on past any length."""
        tail = powers(self.modes, max(0, length - len(self.head))) @ self.coefficients
        return torch.cat([self.head[:length], tail.real])


def powers(modes: Tensor, length: int) -> Tensor:
    """(length, m) complex128 ``λ_j^k`` of the modes (m,), with ``0^0 = 1``."""
    k = torch.arange(length, dtype=torch.float64)[:, None]
    return torch.polar(modes.abs() ** k, modes.angle() * k)


def as_taps(kernel: Tensor) -> Tensor:
    """The kernel (n,) as float64 on the CPU, without its history.

    Raises:
        InputError: if it is not one row of finite real taps.
    """
    if kernel.ndim != 1 or not len(kernel) or kernel.is_complex():
        raise InputError(
            f"a kernel to convert is one row of real taps (n,), got {kernel.dtype} of shape "
            f"{tuple(kernel.shape)}; convert heads and channel shifts one by one"
        )
    if not kernel.isfinite().all():
        raise InputError("a tap of the kernel is not finite; convert a model whose training did not diverge")
    return kernel.detach().to("cpu", torch.float64)
