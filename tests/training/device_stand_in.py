"""A device that nobody may wait for, played by the CPU."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITING = {
    "_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "bincount", "_unique2",
    "unique_dim", "unique_consecutive",
}  # fmt: skip
"""Operations whose result, or its shape, the host has to know."""


class Waited(AssertionError):
    """The host has asked for a number of the device."""


class Device(TorchDispatchMode):
    """Every tensor lies on the device, but those of the host and what is computed of them alone."""

    def __init__(self, host: list[Tensor]):
        super().__init__()
        self._host = {tensor.untyped_storage().data_ptr() for tensor in host}
        self._kept: list[Tensor] = list(host)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if given and all(x.untyped_storage().data_ptr() in self._host for x in given):
            result = func(*args, **kwargs)
            self._remember(result)
            return result
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(isinstance(x, Tensor) and x.dtype == torch.bool for x in indices)
        if by_mask or name in WAITING:
            raise Waited(str(func))
        return func(*args, **kwargs)

    def _remember(self, result: Any) -> None:
        for x in tree_leaves(result):
            if isinstance(x, Tensor):
                self._kept.append(x)  # its memory is not another's meanwhile
                self._host.add(x.untyped_storage().data_ptr())


def pretend(patch: pytest.MonkeyPatch) -> None:
    """What models do only on a CPU is not done, and what does not pass the dispatcher waits too."""

    def wait(tensor: Tensor) -> Any:
        raise Waited("tolist")

    patch.setattr(Tensor, "tolist", wait)
    patch.setattr(Tensor, "numpy", wait)
    patch.setattr("tmt.layers.memory_anchors.MemoryAnchors._candidates", lambda bank, dead: range(len(dead)))
    patch.setattr("tmt.model.base.LanguageModel.check_vocabulary", lambda model, tokens: None)
