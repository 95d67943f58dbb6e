"""Small models whose every part speaks: random matrices, thresholds that part the tokens, tiny windows."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from tmt.errors import InputError
from tmt.model import ARCHITECTURES
from tmt.model.base import LanguageModel
from tmt.model.golf import Golf
from tmt.model.golf_config import GolfConfig

VOCAB = 61

SIZES: dict[str, dict[str, Any]] = {
    "transformer": dict(
        vocab_size=VOCAB, max_seq_len=96, d_model=16, n_heads=2, n_layers=2, ffn_dim=24, dropout=0.0
    ),
    "golf": dict(
        vocab_size=VOCAB,
        max_seq_len=96,
        d_model=16,
        n_heads=2,
        n_layers=5,
        ffn_dim=24,
        rope_dims=4,
        qk_gain=2.0,
        loops_from=0.0,
        parallel_from=3,
    ),
    **{
        name: dict(
            vocab_size=VOCAB, max_seq_len=96, kernel_length=64, d_model=16, n_layers=2, ffn_dim=24, **heads
        )
        for name, heads in {"toeplitz": dict(n_heads=2), "triangular": {}, "hyena": {}}.items()
    },
    "tmt": dict(
        vocab_size=VOCAB,
        max_seq_len=96,
        d_model=16,
        n_heads=2,
        n_layers=4,
        dropout=0.0,
        graph_k=3,
        local_window=4,
        routing_dim=8,
        graph_block=4,
        k_global=2,
        decay_horizon=32,
        exit_threshold=0.5,
        entry_layers=1,
        ffn_stream_dim=12,
        memory_anchors=4,
    ),
}

SWITCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "transformer": ("transformer", {}),
    "transformer-untied": ("transformer", dict(tie_embeddings=False)),
    **{
        f"golf-{name}": ("golf", overrides)
        for name, overrides in {
            "record": {},
            "all-heads": dict(n_kv_heads=2),
            "no-rotation": dict(rope_dims=0),
            "stretched": dict(rope_length=32),
            "no-scale": dict(ln_scale=False),
            "relu2": dict(activation="relu2"),
            "no-mix": dict(residual_mix=False),
            "no-softcap": dict(softcap=0.0),
            "no-skips": dict(unet_skips=False),
            "no-loops": dict(loop_passes=1),
            "late-loops": dict(loops_from=0.35),
            "other-loops": dict(loop_start=0, loop_end=0, loop_passes=4),
            "serial": dict(parallel="none"),
            "simple": dict(parallel="simple"),
            "late-lanes": dict(parallel_from=4, lane_retention=1.0),
            "no-gain": dict(qk_gain=1.0),
            "own-values": dict(xsa=False),
            "pass-embedding": dict(pass_embedding=True),
            "untied": dict(tie_embeddings=False),
        }.items()
    },
    "triangular": ("triangular", {}),
    "triangular-heads": ("triangular", dict(n_heads=2, layout="mix_first")),
    "hyena": ("hyena", {}),
    "hyena-relaxed": ("hyena", dict(decode="relaxed", beyond="fir", kernel_length=10)),
    **{
        f"toeplitz-{name}": ("toeplitz", overrides)
        for name, overrides in {
            "heads": {},
            "flat": dict(n_heads=0),
            "full-width": dict(n_heads=16),
            "raw": dict(kernel="raw", init="kaiming"),
            "softplus": dict(kernel="softplus", bias="channel"),
            "mean": dict(kernel="softplus", mean=True),
            "mean-short": dict(kernel="softplus", mean=True, kernel_length=9, beyond="fir"),
            "frozen": dict(kernel="ones"),
            "decay": dict(kernel="decay"),
            "decay-endless": dict(kernel="decay", kernel_length=9, beyond="formula"),
            "expanded": dict(expanded=True),
            "expanded-flat": dict(expanded=True, n_heads=0, inner_bias=False),
            "channels": dict(channel_kernel=3),
            "channels-expanded": dict(channel_kernel=3, expanded=True, bias="none"),
            "fir": dict(kernel_length=9, beyond="fir"),
            "fir-expanded": dict(kernel_length=7, beyond="fir", expanded=True),
            "relaxed": dict(decode="relaxed"),
            "relaxed-fir": dict(decode="relaxed", kernel_length=9, beyond="fir", channel_kernel=2),
            "expsum": dict(kernel="expsum", kernel_rank=3, kernel_head=2),
            "expsum-headless": dict(kernel="expsum", kernel_rank=5, kernel_head=0, channel_kernel=2),
            "expsum-endless": dict(kernel="expsum", kernel_rank=2, kernel_length=9, beyond="formula"),
            "expsum-state": dict(kernel="expsum", decode="state"),
            "expsum-direct": dict(kernel="expsum", decode="direct"),
            "expsum-expanded": dict(kernel="expsum", expanded=True, n_heads=0),
            "fft": dict(toeplitz="fft"),
            "blocked": dict(toeplitz="blocked"),
            "published": dict(
                n_heads=0, kernel="raw", init="kaiming", final_norm=False, tie_embeddings=False
            ),
            "fast": dict(layout="mix_first", norm="rms", activation="gelu", output_bias=False),
        }.items()
    },
    **{
        name: ("tmt", overrides)
        for name, overrides in {
            "tmt": {},
            "random-graph": dict(graph="random"),
            "recent-graph": dict(graph="recent"),
            "no-graph": dict(graph="none"),
            "dense": dict(graph="dense"),
            "no-successors": dict(successors=False),
            "window-of-one": dict(local_window=1),
            "hierarchical": dict(exact_until=12),
            "hierarchical-always": dict(exact_until=0, k_global=1),
            "rebuild-every-2": dict(rebuild_every=2),
            "dense-first": dict(dense_layers=(0,)),
            "dense-ends": dict(dense_layers=(0, 3)),
            "dense-middle": dict(dense_layers=(2,), rebuild_every=2),
            "bilinear": dict(edge_similarity="bilinear"),
            "states-route": dict(routing_dim=0),
            "states-route-bilinear": dict(routing_dim=0, edge_similarity="bilinear"),
            "distance-decay": dict(decay="distance", decay_rate=0.3),
            "data-decay": dict(decay="data", decay_rate=2.0),
            "channel-decay": dict(channel_decay=True),
            "no-exits": dict(exit_objective="none"),
            "entropy": dict(exit_objective="entropy"),
            "learned-thresholds": dict(exit_objective="learned"),
            "random-exits": dict(exit_gate="random"),
            "position-exits": dict(exit_gate="position"),
            "target-depth": dict(target_depth=0.7),
            "project-exited": dict(exited_kv="project"),
            "project-exited-shared-graph": dict(exited_kv="project", rebuild_every=3),
            "two-entries": dict(entry_layers=2),
            "two-landings": dict(landing_layers=2),
            "no-landing": dict(landing_layers=0),
            "swiglu": dict(dual_stream=False),
            "shared-streams": dict(stream_inputs="shared"),
            "no-memory": dict(memory_anchors=0),
            "stream-memory": dict(stream_memory=True),
            "untied": dict(tie_embeddings=False),
            "annealing": dict(anneal_steps=100),
            "published": dict(
                routing_dim=0,
                local_window=1,
                successors=False,
                decay="distance",
                exit_objective="entropy",
                stream_inputs="shared",
            ),
            "everything": dict(
                exact_until=10,
                decay="data",
                channel_decay=True,
                exited_kv="project",
                rebuild_every=2,
                edge_similarity="bilinear",
                tie_embeddings=False,
            ),
        }.items()
    },
}


def choices(config: type) -> Iterator[tuple[str, Any]]:
    """Every field of a configuration that takes one of a few values, with each of them."""
    for name, kind in get_type_hints(config).items():
        values = (True, False) if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
        yield from ((name, value) for value in values)


def meets(architecture: str, field: str, value: Any) -> bool:
    """Whether a row of SWITCHES has that value."""
    config, sizes = ARCHITECTURES[architecture].config, SIZES[architecture]
    rows = (config(**{**sizes, **overrides}) for name, overrides in SWITCHES.values() if name == architecture)
    return any(getattr(row, field) == value for row in rows)


def _rows_of_their_own() -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    """A row for every value of a switch that no row above has, where the configuration takes it alone."""
    for architecture, entry in ARCHITECTURES.items():
        for field, value in choices(entry.config):
            if meets(architecture, field, value):
                continue
            try:
                entry.config(**{**SIZES[architecture], field: value})
            except InputError:
                continue
            yield f"{architecture}, {field}={value}", (architecture, {field: value})


SWITCHES.update(list(_rows_of_their_own()))

TRAINED_OTHERWISE = {"target-depth", "annealing", "golf-late-loops"}
"""Models that compute something else while they train."""


def build(
    architecture: str = "tmt", *, seed: int = 0, dtype: torch.dtype = torch.float64, **overrides: Any
) -> LanguageModel:
    """A small model in evaluation mode, its matrices drawn anew so that no block is near the identity."""
    torch.manual_seed(seed)
    entry = ARCHITECTURES[architecture]
    model = entry.model(entry.config(**{**SIZES[architecture], **overrides})).to(dtype).eval()
    randomise(model)
    return model


def fresh_golf(**overrides: Any) -> Golf:
    """Eleven narrow layers as a training starts from them."""
    torch.manual_seed(0)
    sizes = dict(
        n_layers=11, d_model=16, n_heads=2, ffn_dim=24, rope_dims=4, vocab_size=VOCAB, max_seq_len=64
    )
    return Golf(GolfConfig(**{**sizes, **overrides})).double().eval()


def next_token_loss(model: LanguageModel, tokens: Tensor) -> Tensor:
    return model(tokens[:, :-1], targets=tokens[:, 1:]).loss


def switched(name: str, **options: Any) -> LanguageModel:
    """The model of one row of SWITCHES."""
    architecture, overrides = SWITCHES[name]
    model = build(architecture, **options, **overrides)
    if name == "target-depth":
        set_thresholds(model, 0.5)
    return model


@torch.no_grad()
def randomise(model: nn.Module, std: float = 0.3) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=std)
        else:
            parameter.add_(0.1 * torch.randn_like(parameter))
    for gate in getattr(model, "gates", {}).values():
        gate.threshold.fill_(model.config.exit_threshold)


@torch.no_grad()
def set_thresholds(model: LanguageModel, value: float) -> None:
    for gate in model.gates.values():
        gate.threshold.fill_(value)


def draw_tokens(*shape: int, seed: int = 1, vocab: int = VOCAB) -> Tensor:
    """Tokens from a few symbols mostly, so that equal ones recur."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randint(0, 7, shape, generator=generator)
    rare = torch.randint(0, vocab, shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < 0.5, common, rare)


def run_cached(model: LanguageModel, tokens: Tensor, steps: list[tuple[int, ...]]) -> list[Tensor]:
    """Logits (n_b, V) of every row b, read in calls of `steps[i][b]` tokens, padded with noise."""
    state, done = None, [0] * len(tokens)
    logits: list[list[Tensor]] = [[] for _ in tokens]
    for step in steps:
        chunk = draw_tokens(len(tokens), max(step), seed=len(logits[0]))
        for b, count in enumerate(step):
            chunk[b, :count] = tokens[b, done[b] : done[b] + count]
        output = model(chunk, state, lengths=torch.tensor(step), return_state=True)
        state = output.state
        for b, count in enumerate(step):
            logits[b].append(output.logits[b, :count])
            done[b] += count
    return [torch.cat(row) for row in logits]
