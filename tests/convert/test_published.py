"""Weights under the names of the authors' code."""

from typing import Any

import pytest
import torch

from tmt.convert import from_published, to_published
from tmt.errors import InputError
from tmt.model.toeplitz import ToeplitzConfig, ToeplitzMixer

D, N, F, V, L = 12, 10, 20, 17, 2


def published(heads: int, expanded: bool) -> dict[str, torch.Tensor]:
    """Random weights with the shapes that the authors' modules have."""
    shapes: dict[str, tuple[int, ...]] = {"input_layer.weight": (V, D), "output_layer.weight": (V, D)}
    for layer in range(L):
        block = f"mixer_blocks.{layer}."
        for norm in ("channel_norm", "token_norm"):
            shapes |= {f"{block}{norm}.weight": (D,), f"{block}{norm}.bias": (D,)}
        shapes |= {
            f"{block}channel_mixing_layer.0.weight": (F, D),
            f"{block}channel_mixing_layer.0.bias": (F,),
            f"{block}channel_mixing_layer.3.weight": (D, F),
            f"{block}channel_mixing_layer.3.bias": (D,),
        }
        mixing = f"{block}token_mixing_layer."
        kernels = [f"{mixing}mixer_heads.{h}." for h in range(heads)] or [mixing]
        for name in kernels:
            for place in ("0.", "3.") if expanded else ("",):
                shapes |= {f"{name}{place}weight": (1, N), f"{name}{place}bias": (N,)}
        for head in range(heads):
            shapes |= {
                f"{mixing}proj_head.{head}.weight": (D // heads, D),
                f"{mixing}proj_head.{head}.bias": (D // heads,),
            }
        if heads:
            shapes |= {f"{mixing}out_proj.weight": (D, D), f"{mixing}out_proj.bias": (D,)}
    torch.manual_seed(0)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("expanded", [False, True])
@pytest.mark.parametrize("heads", [0, 3])
def test_weights_come_back(heads: int, expanded: bool):
    weights = published(heads, expanded)
    model = from_published(weights)
    config = model.config
    assert (config.n_heads, config.expanded, config.ffn_dim, config.kernel_length) == (heads, expanded, F, N)
    assert model.param_count() == sum(weight.numel() for weight in weights.values())
    again = to_published(model)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name].flatten(), weight.flatten()) for name, weight in weights.items())


@torch.no_grad()
def test_a_block_computes_what_the_published_one_does():
    weights = published(heads=3, expanded=False)
    model, tokens = from_published(weights), torch.arange(8)[None] % V
    x = weights["input_layer.weight"][tokens[0]]
    lag = torch.arange(8) - torch.arange(8)[:, None]
    for layer in range(L):
        w = {name.removeprefix(f"mixer_blocks.{layer}."): t for name, t in weights.items()}

        def normed(x: torch.Tensor, name: str, w=w) -> torch.Tensor:
            return torch.nn.functional.layer_norm(x, (D,), w[f"{name}.weight"], w[f"{name}.bias"])

        hidden = normed(x, "channel_norm") @ w["channel_mixing_layer.0.weight"].T
        hidden = torch.nn.functional.silu(hidden + w["channel_mixing_layer.0.bias"])
        x = x + hidden @ w["channel_mixing_layer.3.weight"].T + w["channel_mixing_layer.3.bias"]
        mixed = []
        for head in range(3):
            part = normed(x, "token_norm") @ w[f"token_mixing_layer.proj_head.{head}.weight"].T
            part = part + w[f"token_mixing_layer.proj_head.{head}.bias"]
            taps = w[f"token_mixing_layer.mixer_heads.{head}.weight"][0]
            upper = taps[lag.clamp(min=0)] * (lag >= 0)
            mixed.append((part.T @ upper + w[f"token_mixing_layer.mixer_heads.{head}.bias"][:8]).T)
        out = torch.cat(mixed, 1) @ w["token_mixing_layer.out_proj.weight"].T
        x = x + out + w["token_mixing_layer.out_proj.bias"]
    torch.testing.assert_close(
        model(tokens).logits[0], x @ weights["output_layer.weight"].T, rtol=1e-4, atol=1e-4
    )


def test_what_does_not_fit_is_named():
    weights = published(heads=0, expanded=False)
    for change, named in (
        (lambda w: w.pop("output_layer.weight"), "output_layer.weight is missing"),
        (lambda w: w.pop("input_layer.weight"), "input_layer.weight is missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra of the published weights belongs to no"),
        (lambda w: w.update({"output_layer.weight": torch.zeros(3, D)}), "output_layer.weight .* has shape"),
    ):
        broken = dict(weights)
        change(broken)
        with pytest.raises(InputError, match=named):
            from_published(broken)


def test_a_transposed_weight_is_not_taken():
    weights = published(heads=0, expanded=False)
    name = "mixer_blocks.0.channel_mixing_layer.0.weight"
    weights["mixer_blocks.0.channel_mixing_layer.3.weight"], weights[name] = (
        weights[name],
        weights["mixer_blocks.0.channel_mixing_layer.3.weight"],
    )
    with pytest.raises(InputError, match=r"weight of the published weights has shape \(.*\), not \("):
        from_published(weights)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("activation", "gelu"),
        ("bias", "channel"),
        ("bias", "none"),
        ("layer_norm_eps", 1e-2),
        ("norm", "rms"),
        ("layout", "mix_first"),
        ("kernel", "decay"),
        ("mean", True),
        ("output_bias", False),
        ("channel_kernel", 2),
        ("final_norm", True),
        ("tie_embeddings", True),
    ],
)
def test_what_the_published_model_would_compute_otherwise_is_refused(field: str, value: Any):
    sizes = dict(vocab_size=V, d_model=N, n_layers=1, n_heads=2, ffn_dim=F, kernel_length=N, kernel="raw")
    if field == "mean":
        sizes["kernel"] = "softplus"
    config = ToeplitzConfig(**{**sizes, "final_norm": False, "tie_embeddings": False, field: value})
    expected = "kernel=softplus" if field == "mean" else f"{field}={value}"
    with pytest.raises(InputError, match=f"^{expected} has no published form"):
        to_published(ToeplitzMixer(config))
