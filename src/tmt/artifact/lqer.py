"""A low-rank correction of what quantisation left over (LQER, Zhang et al., 2024)."""

import torch
from torch import Tensor

GROUP = 64
"""Neighbouring entries of the right factor that share a scale."""
LEFT_STEP = 1.224
"""Step in standard deviations at which three levels stand best for normal numbers (Max, 1960)."""
RIGHT_LEVELS = 7


def correction(error: Tensor, rank: int) -> dict[str, Tensor]:
    """Arrays of :class:`tmt.packed.Stored` whose product is near the error (m, n) of a quantised matrix.

    The left factor are the first singular vectors in three levels; the right one is the best there is for
    those (least squares), in 4 bits, so that what is added never points away from the error.
    """
    error = error.double()
    rank = min(rank, *error.shape)
    vectors = torch.linalg.svd(error, full_matrices=False).U[:, :rank]
    left_scale = (LEFT_STEP * vectors.std()).half().reshape(1)
    left = (vectors / left_scale.double()).round().clamp(-1, 1)
    fitted = torch.linalg.lstsq(left * left_scale.double(), error, driver="gelsd").solution
    padded = torch.nn.functional.pad(fitted, (0, -error.shape[1] % GROUP)).unflatten(1, (-1, GROUP))
    right_scales = (padded.abs().amax(2) / RIGHT_LEVELS).clamp(min=2.0**-24).half()
    right = (padded / right_scales.double()[..., None]).round().clamp(-RIGHT_LEVELS, RIGHT_LEVELS)
    return {
        "left": left.to(torch.int8),
        "left_scale": left_scale,
        "right": right.to(torch.int8),
        "right_scales": right_scales,
    }
