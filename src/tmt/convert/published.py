"""Weights of the Toeplitz mixers that the authors' code trains, by their names there, and back."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor

from tmt.errors import InputError
from tmt.model.toeplitz import ToeplitzMixer, ToeplitzMixing
from tmt.model.toeplitz_config import ToeplitzConfig

Weights = dict[str, Tensor]
SIZES = ("vocab_size", "d_model", "n_layers", "n_heads", "ffn_dim", "kernel_length", "expanded")
"""Fields that the shapes of weights tell."""
WITHOUT_EFFECT = {"max_seq_len", "dropout", "init", "embedding_std", "beyond", "decode", "toeplitz"}
"""Fields that change no logit of a text that is not longer than the kernel, given the weights."""
NORMS_AND_MLP = {
    "channel_norm": "channel_norm",
    "mlp.inner": "channel_mixing_layer.0",
    "mlp.output": "channel_mixing_layer.3",
    "token_norm": "token_norm",
}


def from_published(weights: Weights) -> ToeplitzMixer:
    """A model with those weights, its sizes read off their shapes.

    The layout is the authors' own: MLP first, layer norms, none before an untied head, free kernels. One
    linear layer per head becomes one whose rows are stacked in the order of the heads.

    Raises:
        InputError: a weight is missing, unknown, or of a shape that does not fit (a 1 more or less does).
    """
    model = ToeplitzMixer(_config(weights)).eval()
    with torch.no_grad():
        for name, target in _targets(model):
            if name not in weights:
                raise InputError(f"{name} is missing from the published weights")
            if _sizes(weights[name]) != _sizes(target):
                shapes = f"{tuple(weights[name].shape)}, not {tuple(target.shape)}"
                raise InputError(f"{name} of the published weights has shape {shapes}")
            target.copy_(weights[name].view_as(target))
    unknown = weights.keys() - {name for name, _ in _targets(model)}
    if unknown:
        raise InputError(f"{min(unknown)} of the published weights belongs to no Toeplitz mixer")
    return model


def to_published(model: ToeplitzMixer) -> Weights:
    """The weights of a model of that layout under the published names.

    Raises:
        InputError: the model computes something else than the published one does with these weights.
    """
    config = model.config
    layout = _layout(**{size: getattr(config, size) for size in SIZES})
    for field in fields(config):
        own, published = (getattr(c, field.name) for c in (config, layout))
        if own != published and field.name not in WITHOUT_EFFECT:
            raise InputError(
                f"{field.name}={own} has no published form, whose models have {field.name}={published}"
            )
    return {name: target.detach().clone() for name, target in _targets(model)}


def _targets(model: ToeplitzMixer) -> Iterator[tuple[str, Tensor]]:
    """Every published name and the part of the model's parameters that it stands for."""
    yield "input_layer.weight", model.embedding.weight
    yield "output_layer.weight", model.head.weight
    for layer, block in enumerate(model.blocks):
        prefix = f"mixer_blocks.{layer}."
        for own, published in NORMS_AND_MLP.items():
            module = block.get_submodule(own)
            for kind in ("weight", "bias"):
                yield f"{prefix}{published}.{kind}", getattr(module, kind)
        yield from _mixing_targets(model, cast("ToeplitzMixing", block.mixer), f"{prefix}token_mixing_layer.")


def _mixing_targets(model: ToeplitzMixer, mixer: ToeplitzMixing, prefix: str) -> Iterator[tuple[str, Tensor]]:
    heads = model.config.n_heads
    width = model.config.d_model // max(1, heads)
    for head in range(heads):
        rows = slice(head * width, (head + 1) * width)
        yield f"{prefix}proj_head.{head}.weight", mixer.get_parameter("input.weight")[rows]
        yield f"{prefix}proj_head.{head}.bias", mixer.get_parameter("input.bias")[rows]
    if heads:
        yield f"{prefix}out_proj.weight", mixer.get_parameter("output.weight")
        yield f"{prefix}out_proj.bias", mixer.get_parameter("output.bias")
    places = ("0.", "3.") if model.config.expanded else ("",)
    for place, convolution in zip(places, mixer.convolutions, strict=True):
        for head in range(max(1, heads)):
            name = f"{prefix}mixer_heads.{head}.{place}" if heads else f"{prefix}{place}"
            yield f"{name}weight", convolution.get_parameter("kernel.weight")[head]
            yield f"{name}bias", convolution.get_parameter("bias")[head]


def _config(weights: Weights) -> ToeplitzConfig:
    try:
        vocab_size, d_model = weights["input_layer.weight"].shape
        first = "mixer_blocks.0.token_mixing_layer."
        heads = sum(name.startswith(f"{first}proj_head.") for name in weights) // 2
        kernel = first + ("mixer_heads.0." if heads else "")
        expanded = f"{kernel}0.weight" in weights
        return _layout(
            vocab_size=vocab_size,
            d_model=d_model,
            n_layers=sum(name.endswith(".token_norm.weight") for name in weights),
            n_heads=heads,
            ffn_dim=len(weights["mixer_blocks.0.channel_mixing_layer.0.weight"]),
            kernel_length=weights[f"{kernel}0.weight" if expanded else f"{kernel}weight"].shape[-1],
            expanded=expanded,
        )
    except KeyError as error:
        raise InputError(f"{error.args[0]} is missing from the published weights") from error


def _layout(**sizes: Any) -> ToeplitzConfig:
    """The authors' own, of these :data:`SIZES`."""
    return ToeplitzConfig(kernel="raw", final_norm=False, tie_embeddings=False, **sizes)


def _sizes(weight: Tensor) -> list[int]:
    return [size for size in weight.shape if size != 1]
