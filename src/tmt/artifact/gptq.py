"""Quantising a matrix so that its outputs, not its weights, change least (GPTQ, Frantar et al., 2023)."""

import torch
from torch import Tensor

from tmt.artifact.clip import levels
from tmt.errors import InputError

DAMPING = 0.01
"""Added to the diagonal of a Hessian, as a share of its mean."""
RETRIES = 6


def round_rows(weight: Tensor, scales: Tensor, bits: int) -> Tensor:
    """Codes int8 (m, n) of a weight (m, n): the nearest multiples of the scales (m,) within `bits` bits."""
    top = levels(bits)
    return (weight.double() / scales.double()[:, None]).round().clamp(-top, top).to(torch.int8)


def gptq(weight: Tensor, hessian: Tensor, scales: Tensor, bits: int, block: int = 128) -> Tensor:
    """Codes for which ``tr((W − Ŵ) H (W − Ŵ)ᵀ)`` is small.

    One column after another is rounded, those with the largest inputs first, and its error is made good in
    the columns that are left. Inputs that never came get the weight 0. Computed in float64.

    Args:
        weight: (m, n), outputs by inputs.
        hessian: (n, n), ``Σ x xᵀ`` over the inputs, up to a factor.
        scales: (m,) float16.
        bits: of the codes, at most 8.
        block: columns after which the rest of the matrix learns of the errors; it changes speed only.

    Returns:
        Codes int8 (m, n) within [−R, R].

    Raises:
        InputError: the Hessian is not finite or far from positive semidefinite.
    """
    top = levels(bits)
    hessian = hessian.double().clone()
    dead = hessian.diagonal() == 0
    hessian.diagonal()[dead] = 1
    order = hessian.diagonal().argsort(descending=True, stable=True)
    factor = _inverse_factor(hessian[order][:, order])
    columns = weight.double().T[order].contiguous()  # (n, m): a column of the weight is a row in memory
    columns[dead[order]] = 0
    steps = scales.double()
    codes = torch.empty(columns.shape, dtype=torch.int8)
    errors = torch.empty(block, columns.shape[1], dtype=torch.float64)
    for start in range(0, len(columns), block):
        end = min(start + block, len(columns))
        for j in range(start, end):
            code = (columns[j] / steps).round_().clamp_(-top, top)
            codes[j] = code
            error = (columns[j] - code * steps) / factor[j, j]
            columns[j + 1 : end].addr_(factor[j, j + 1 : end], error, alpha=-1)
            errors[j - start] = error
        columns[end:].addmm_(factor[start:end, end:].T, errors[: end - start], alpha=-1)
    result = torch.empty_like(codes)
    result[order] = codes
    return result.T.contiguous()


def _inverse_factor(hessian: Tensor) -> Tensor:
    """Upper U with ``H⁻¹ = Uᵀ U``, of the damped Hessian; more damping where it cannot be inverted."""
    mean = hessian.diagonal().mean()
    for attempt in range(RETRIES):
        damped = hessian + torch.eye(len(hessian), dtype=hessian.dtype) * (DAMPING * 10**attempt * mean)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if failed:
            continue
        upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
        if not failed:
            return upper
    raise InputError(
        "its Hessian cannot be inverted: the inputs on the calibration text are not finite; "
        "does `tmt eval` score the run?"
    )
