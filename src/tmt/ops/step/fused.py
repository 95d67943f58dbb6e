"""A decoding step of one layer in C; the readable forms are the blocks in :mod:`tmt.model`."""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from tmt.ops import native

_SOURCE = Path(__file__).with_name("step.c")
_PIECE = 64  # rows of one piece of work; a step has one

WEIGHTS = [
    "attention_norm",
    "query",
    "key",
    "value",
    "output",
    "query_norm",
    "key_norm",
    "ffn_norm",
    "route",
    "gain",
    "forget_weight",
    "forget_bias",
    "ffn_gate",
    "ffn_inner",
    "ffn_output",
    "mix",
    "local_norm",
    "stream_gate",
    "stream_gate_bias",
    "syntax",
    "semantics",
    "syntax_output",
    "semantics_output",
]
"""Names of the weights in the order of `Layer.weights`."""


def _fields(kind: type, names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class Layer(ctypes.Structure):
    """`layer` of step.c; tensors are given by their addresses, and the caller keeps them alive."""

    _fields_ = [
        ("weights", ctypes.c_void_p * len(WEIGHTS)),
        *_fields(ctypes.c_int64, "width heads hidden routing"),
        *_fields(ctypes.c_int64, "slots window k_neighbours block k_global exact_until successors builds"),
        *_fields(ctypes.c_int64, "rotated_anchors"),
        ("eps", ctypes.c_float),
        *_fields(ctypes.c_int64, "position threads anchors"),
        *_fields(ctypes.c_void_p, "x cosine sine boost q k v routing_k means neighbours"),
        *_fields(ctypes.c_void_p, "forget forget_total forget_k decay_rate anchor_k anchor_v tail"),
    ]


def available(x: Tensor, head_width: int) -> bool:
    """Whether states x (n, D) with heads of width E can be advanced here.

    That takes float32 on a CPU with a C compiler, heads whose halves are whole vectors, and no gradient,
    autocast or `torch.compile` at work. D, hidden units and routing vectors are multiples of 16 as well.
    """
    return (
        x.dtype == torch.float32
        and head_width % 32 == 0
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and native.takes(x, _SOURCE, **_defines(head_width))
    )


def mesh_layer(layer: Layer) -> None:
    """Advance `x` by a layer of the mesh."""
    _library(layer).mesh_layer(ctypes.byref(layer))


def before_attention(layer: Layer) -> None:
    """Fill in `q`, and `k` and `v` of the token, of a dense layer."""
    _library(layer).before_attention(ctypes.byref(layer))


def after_attention(layer: Layer, attended: Tensor) -> None:
    """Advance `x` by a dense layer whose heads have read contiguous `attended` (H, E)."""
    _library(layer).after_attention(ctypes.byref(layer), native.pointer(attended))


def _library(layer: Layer) -> ctypes.CDLL:
    return native.library(_SOURCE, **_defines(layer.width // layer.heads))


def _defines(head_width: int) -> dict[str, int]:
    return {"WIDTH": head_width, "PIECE": _PIECE, **native.element(torch.float32)}
