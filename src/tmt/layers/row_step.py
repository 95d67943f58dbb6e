"""The next token of one row through a layer in a native call; the layers' own forward passes say the same."""

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tmt.layers.attention import HeadProjections
from tmt.layers.cache import Cache
from tmt.layers.feed_forward import LocalMix
from tmt.layers.linear import Linear
from tmt.layers.mesh_attention import MeshAttention
from tmt.layers.norm import RMSNorm
from tmt.layers.rotary import Rotation
from tmt.ops import step
from tmt.ops.step import Layer

_KINDS = (Linear, nn.Linear, RMSNorm, LocalMix, MeshAttention)
"""Modules whose weights a step uses as they do: not those of a subclass, which may do more."""


class Plan:
    """What stays the same between the steps of a block: its sizes, and where its weights are found.

    Weights are looked up in every step, so that those which were moved or replaced are read.
    """

    def __init__(
        self, module: nn.Module, heads: HeadProjections, weights: Mapping[str, str], /, **sizes: int
    ):
        """`weights` maps names of :data:`tmt.ops.step.WEIGHTS` to parameters of the block."""
        self._head_width = heads.width
        width = heads.query.in_features
        self._form = Layer(width=width, heads=heads.n_heads, eps=heads.query_norm.eps, **sizes)
        owners = {module.get_submodule(name.rpartition(".")[0]) for name in weights.values()}
        whole = all(n % 16 == 0 for n in (width, sizes["hidden"], sizes.get("routing", 0)))
        self.possible = whole and all(type(owner) in _KINDS for owner in owners)
        """Whether a step can be made of these sizes and these kinds of modules."""
        self._links = [
            (parent._modules, name, child)
            for parent in module.modules()
            for name, child in parent.named_children()
        ]
        self._places = [_place(module, weights.get(name)) for name in step.WEIGHTS] if self.possible else []

    def holds(self) -> bool:
        """Whether the block consists of the same modules as then, and nobody watches them."""
        return all(
            modules.get(name) is child and not (child._forward_hooks or child._forward_pre_hooks)
            for modules, name, child in self._links
        )

    def takes(self, x: Tensor) -> bool:
        """Whether a step advances x (1, D) with the weights as they are now."""
        weights = (place[0][place[1]] for place in self._places if place)
        plain = all(weight.dtype is torch.float32 and weight.is_contiguous() for weight in weights)
        return plain and step.available(x, self._head_width)

    def layer(self) -> Layer:
        """A fresh description with the weights where they are now."""
        layer = Layer.from_buffer_copy(self._form)
        layer.weights[:] = [place and place[0][place[1]].data_ptr() for place in self._places]
        return layer


def _place(module: nn.Module, name: str | None) -> tuple[dict[str, Any], str] | None:
    if name is None:
        return None
    owner, _, leaf = name.rpartition(".")
    return module.get_submodule(owner)._parameters, leaf


def head_weights(norm: str, heads: str) -> dict[str, str]:
    """Weights of a norm and of :class:`HeadProjections`, by where they are in a block."""
    parts = ("query", "key", "value", "output", "query_norm", "key_norm")
    return {"attention_norm": f"{norm}.weight"} | {part: f"{heads}.{part}.weight" for part in parts}


def gated_unit_weights(norm: str, ffn: str) -> dict[str, str]:
    """Weights of a norm and of :class:`tmt.layers.feed_forward.SwiGLU`."""
    parts = ("gate", "inner", "output")
    return {"ffn_norm": f"{norm}.weight"} | {f"ffn_{part}": f"{ffn}.{part}.weight" for part in parts}


_PLANS: WeakKeyDictionary[nn.Module, Plan | None] = WeakKeyDictionary()


def plan_of(block: nn.Module, x: Tensor, cache: Cache, make: Callable[[], Plan | None]) -> Plan | None:
    """The block's plan where x (B·T, D) is the next token of one row and a step takes it, else None.

    `make` says what the plan is, None where the block has parts that a step lacks.
    """
    watched = block._forward_hooks or block._forward_pre_hooks
    if len(x) > 1 or cache.fresh or cache.padded or cache.fixed or block.training or watched:
        return None
    plan = _PLANS.get(block)
    if plan is None or not plan.holds():
        plan = _PLANS[block] = make()
        if plan is None or not plan.holds():
            return None
    return plan if plan.possible and plan.takes(x) else None


class RowStep:
    """A step in the making: state is taken out of the cache in the order in which layers keep it."""

    def __init__(self, plan: Plan, x: Tensor, rotation: Rotation, cache: Cache):
        """Args: x (1, D), to be advanced in place; rotation of its position."""
        self.layer, self.cache, self._x = plan.layer(), cache, x
        self._alive = [x, *rotation]
        self.layer.position, self.layer.threads = cache.reach - 1, torch.get_num_threads()
        self.layer.x, self.layer.cosine, self.layer.sine = (tensor.data_ptr() for tensor in self._alive)

    def heads(self) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (1, 1, H, E), keys and values (1, S, H, E): places that the step fills."""
        k, v = self.buffer("k"), self.buffer("v")
        q = self.place("q", k.new_empty(1, 1, *k.shape[2:]))
        return q, k, v

    def buffer(self, name: str, length: int | None = None) -> Tensor:
        """The cache's next buffer, of all tokens so far or of `length` entries (1, length, …)."""
        length = self.cache.reach if length is None else length
        return self.place(name, self.cache.opened(torch.float32, length))[:, :length]

    def place(self, name: str, tensor: Tensor) -> Tensor:
        """Let the step read or fill a contiguous tensor."""
        setattr(self.layer, name, tensor.data_ptr())
        self._alive.append(tensor)
        return tensor

    def run_mesh(self) -> Tensor:
        """The state (1, D) after a layer of the mesh."""
        step.mesh_layer(self.layer)
        return self._x

    def attend(self) -> None:
        """Fill queries, keys and values of a layer whose attention is computed elsewhere."""
        step.before_attention(self.layer)

    def finish(self, attended: Tensor) -> Tensor:
        """The state (1, D) after that layer, whose heads have read `attended` (…, H, E)."""
        step.after_attention(self.layer, attended.contiguous())
        return self._x
