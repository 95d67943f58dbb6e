"""Tensors that an operator needs going back, made again instead of kept."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def made_again(tensors: Sequence[Tensor], make: Callable[[], Sequence[Tensor]]) -> saved_tensors_hooks:
    """While this context lasts, no operator keeps these tensors to go back: `make` gives them then.

    Unlike a checkpoint it repeats nothing else, and it may be gone back through several times.

    Args:
        tensors: what is not to be kept.
        make: makes the same bits again, in the same order; called without gradients, in today's autocast.
    """
    device = tensors[0].device.type
    autocast = torch.autocast(
        device, torch.get_autocast_dtype(device), enabled=torch.is_autocast_enabled(device)
    )
    places = {(tensor.data_ptr(), tensor.shape): place for place, tensor in enumerate(tensors)}
    spare: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor | int:
        return places.get((tensor.data_ptr(), tensor.shape), tensor)

    def unpack(kept: Tensor | int) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        if kept not in spare:
            with torch.no_grad(), autocast:
                spare.update(enumerate(make()))
        return spare.pop(kept)

    return saved_tensors_hooks(pack, unpack)
