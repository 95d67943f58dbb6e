"""The moving average of the weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel


def weight_average(model: nn.Module, decay: float, ramp: bool) -> AveragedModel:
    """``s ← decay · s + (1 − decay) · w`` for every parameter and buffer, from the weights at the start.

    With `ramp` the decay of update k is at most ``(1 + k) / (10 + k)``: the weights at the start, of which
    ``decay^n`` would be left, are forgotten in a short run too.
    """

    def update(averages: PARAM_LIST, weights: PARAM_LIST, updates: Tensor | int) -> None:
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, weights)
            return
        count = int(average.n_averaged)  # `updates` is a copy of it on the device, which would be waited for
        kept = min(decay, (1 + count) / (10 + count)) if ramp else decay
        torch._foreach_lerp_(averages, weights, 1 - kept)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    average.n_averaged += 1  # the first update is an average too, not a copy
    return average
