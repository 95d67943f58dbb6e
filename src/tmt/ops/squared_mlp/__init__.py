"""The hidden units of a squared MLP, ``f(x Wᵀ)`` with f the squared leaky ReLU, made for training.

The readable form keeps three tensors of hidden size for the backward pass: the products, their leaky ReLU
and its square. The other paths write f and its slope f′ as they compute them and keep only these two:
"torch" in plain PyTorch, "triton" and "tma" in one kernel on a GPU. Left to itself :func:`squared_linear`
takes the fastest one; :func:`squared_linear_impl` says which.
"""

from torch import Tensor

from tmt.errors import InputError, unknown
from tmt.ops.squared_mlp.choice import path, squared_linear_impl
from tmt.ops.squared_mlp.reference import squared_leaky_relu

__all__ = ["squared_leaky_relu", "squared_linear", "squared_linear_impl"]

IMPLEMENTATIONS = ("tma", "triton", "torch", "reference")


def squared_linear(x: Tensor, weight: Tensor, slope: float, impl: str | None = None) -> Tensor:
    """``f(x Wᵀ)``, f(c) = c² above zero and (slope · c)² below.

    Args:
        x: (…, D) of a floating type.
        weight: (H, D) of the same type, but under autocast, where both are cast as
            `torch.nn.functional.linear` casts them.
        slope: of the leaky ReLU; 0 makes f the squared ReLU.
        impl: one of `IMPLEMENTATIONS`, or None for :func:`squared_linear_impl`.

    Returns:
        (…, H), differentiable once in x and weight.

    Raises:
        InputError: an unknown path; shapes that do not fit.
    """
    if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        shapes = f"{tuple(x.shape)} and {tuple(weight.shape)}"
        raise InputError(f"squared_linear takes x (…, D) and a weight (H, D), not {shapes}")
    impl = impl or squared_linear_impl(x, weight, slope)
    if impl not in IMPLEMENTATIONS:
        raise unknown("squared MLP implementation", impl, IMPLEMENTATIONS)
    return path(impl)(x, weight, slope)
