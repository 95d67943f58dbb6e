"""Configuration of the TemporalMesh Transformer: every switch, its default, and the named sizes."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal, Self

from tmt.layers.exit_schedule import GateKind, keep_shares
from tmt.model.checks import changed, require, require_positive
from tmt.model.common_config import ModelConfig
from tmt.ops.graph_spec import GraphKind, GraphSpec

_COMMON = dict(vocab_size=50257, max_seq_len=8192, target_depth=0.75, memory_anchors=0)
_FOUR_LAYERS = dict(n_layers=4, entry_layers=1)

_PRESETS = {
    "nano": _COMMON | _FOUR_LAYERS | dict(vocab_size=4096, d_model=192, n_heads=6, ffn_stream_dim=384),
    "small": _COMMON | _FOUR_LAYERS | dict(d_model=256, n_heads=4, ffn_stream_dim=512),
    "medium": _COMMON | dict(d_model=512, n_heads=8, n_layers=6, ffn_stream_dim=2304),
    "base": _COMMON | dict(d_model=768, n_heads=12, n_layers=12, ffn_stream_dim=1536),
    "large": _COMMON | dict(d_model=1024, n_heads=16, n_layers=24, ffn_stream_dim=2048),
}


@dataclass(frozen=True, kw_only=True)
class TMTConfig(ModelConfig):
    """Sizes and switches of a :class:`tmt.model.model.TMTModel`. Raises ValueError naming a bad field."""

    PRESETS: ClassVar[dict[str, dict]] = _PRESETS
    ABSENT: ClassVar[dict[str, str]] = {"anchor_query": "rotated"}

    graph: GraphKind = "knn"
    """Who the neighbours are: the most similar past tokens, or a control: random past tokens, the most
    recent ones beyond the window, none (window only), or every past token (dense attention)."""
    graph_k: int = 8
    """Neighbours per token."""
    local_window: int = 16
    """Most recent tokens that are always seen, the token itself included."""
    successors: bool = True
    """Beside neighbour j also see j + 1."""
    routing_dim: int = 32
    """Width of the routing vectors; 0 compares the normalised states themselves (the published form)."""
    edge_similarity: Literal["cosine", "bilinear"] = "cosine"
    """How routing vectors are compared: r_i·r_j, or the directed r_i W r_j."""
    graph_block: int = 64
    """Tokens per window of the hierarchical build."""
    k_global: int = 4
    """Complete past windows that the hierarchical build searches."""
    exact_until: int = 512
    """Positions before this one search the whole past, later ones by windows."""
    rebuild_every: int = 1
    """Layers that share one graph."""
    dense_layers: tuple[int, ...] = ()
    """Layers that keep dense causal attention."""
    anneal_steps: int = 0
    """Optimiser steps over which the window shrinks from max_seq_len to local_window."""

    decay: Literal["none", "distance", "data"] = "data"
    """Temporal decay of attention: none, 2σ(−rate·distance) after the softmax (the published form), or a
    forget gate per token and head (Forgetting Transformer)."""
    decay_rate: float = 0.1
    """Rate per token of the fastest head; each next head is half as fast, the last does not decay."""
    channel_decay: bool = False
    """Scale each channel of the attention output by absolute position."""
    decay_horizon: int = 1024
    """Positions over which the channel scale acts."""

    exit_objective: Literal["none", "budget", "entropy", "learned"] = "budget"
    """What trains the exits: none (every layer runs), the gate multiplying the update under a depth
    budget, the published entropy penalty, or learned thresholds."""
    exit_gate: GateKind = "learned"
    """Who decides: the learned score, or a control: pseudo-random, or by position alone."""
    target_depth: float | None = None
    """Mean share of layers a token runs; None uses exit_threshold instead."""
    exit_threshold: float = 0.85
    """A token leaves when its confidence exceeds this (unless target_depth sets the threshold); at 0 every
    token leaves at the first gate."""
    entry_layers: int = 2
    """First layers, which every token runs."""
    landing_layers: int = 1
    """Last layers, which every token runs, exited or not."""
    exited_kv: Literal["reuse", "project"] = "reuse"
    """Keys and values of exited tokens: the last computed ones, or projected anew in every layer."""

    dual_stream: bool = True
    """Two gated streams in the FFN; False: one SwiGLU of equal FLOPs."""
    ffn_stream_dim: int = 256
    """Hidden units of each stream."""
    stream_inputs: Literal["shared", "split"] = "split"
    """Both streams read the same state, or the syntax stream reads a local mix of four tokens."""

    memory_anchors: int = 16
    """Anchors in the memory bank, 16 as published; 0 for none, as in every preset: after 300 steps they cost
    0.011 ± 0.009 bits a byte (docs/claims.md)."""
    memory_momentum: float = 0.99
    """β of the anchors' moving average."""
    anchor_query: Literal["unrotated", "rotated"] = "unrotated"
    """What scores the anchors, whose keys have no position: the query before its rotation, which gives them
    the same weight at every place, or after it, as models did whose configuration lacks the field."""
    stream_memory: bool = False
    """Give every batch row its own bank and update it, score first, as a cached stream is read."""

    def __post_init__(self):
        """Validate every field."""
        super().__post_init__()
        self.require_heads(rotated=True)
        require_positive(self, "ffn_stream_dim", "local_window", "graph_block", "rebuild_every")
        require_positive(self, "decay_horizon", "decay_rate")
        for name in ("graph_k", "k_global", "memory_anchors", "anneal_steps", "routing_dim", "exact_until"):
            require(getattr(self, name) >= 0, self, name, "must not be negative")
        for name in ("graph_k", "local_window"):
            require(
                getattr(self, name) <= self.max_seq_len, self, name, f"exceeds max_seq_len={self.max_seq_len}"
            )
        require(0 <= self.exit_threshold <= 1, self, "exit_threshold", "must be in [0, 1]")
        require(0 <= self.memory_momentum < 1, self, "memory_momentum", "must be in [0, 1)")
        bad_layers = [i for i in self.dense_layers if not 0 <= i < self.n_layers]
        require(not bad_layers, self, "dense_layers", f"names layers outside 0..{self.n_layers - 1}")
        if self.exits:
            self._check_depth()

    def __repr__(self) -> str:
        """Every field, and the parameters of the model (published interface)."""
        import torch

        from tmt.model.model import TMTModel

        shown = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))
        with torch.device("meta"):
            count = TMTModel(self).param_count()
        return f"TMTConfig({shown}): {count:,} parameters"

    def _check_depth(self) -> None:
        fixed = self.entry_layers + self.landing_layers
        require(self.entry_layers >= 1, self, "entry_layers", "must be at least 1")
        require(self.landing_layers >= 0, self, "landing_layers", "must not be negative")
        if self.target_depth is not None:
            reason = (
                f"must be in [{fixed / self.n_layers:.3g}, 1]: {self.entry_layers} entry_layers and "
                f"{self.landing_layers} landing_layers of {self.n_layers} run for every token"
            )
            require(fixed / self.n_layers <= self.target_depth <= 1, self, "target_depth", reason)
            mean = (self.target_depth * self.n_layers - fixed) / max(1, self.n_layers - fixed)
            require(
                mean > 0 or fixed == self.n_layers, self, "target_depth", "leaves the middle layers no token"
            )

    def unused(self) -> dict[str, str]:
        """See :class:`ModelConfig`."""
        reasons = {}
        if not self.exits:
            names = ("target_depth", "exit_threshold", "exit_gate", "exited_kv")
            reasons |= dict.fromkeys(names, "no token can leave before the last layer")
        elif self.target_depth is not None:
            reasons["exit_threshold"] = f"target_depth={self.target_depth} sets it; null hands it over"
        if self.graph in ("none", "dense"):
            reasons |= dict.fromkeys(("graph_k", "successors"), f"graph={self.graph} has no neighbours")
        if self.graph != "knn":
            names = ("graph_block", "k_global", "exact_until")
            reasons |= dict.fromkeys(names, f"graph={self.graph} searches nothing")
        if not self.channel_decay:
            reasons["decay_horizon"] = "channel_decay=false scales no channel"
        if not self.memory_anchors:
            names = ("memory_momentum", "anchor_query", "stream_memory")
            reasons |= dict.fromkeys(names, "memory_anchors=0 is no bank")
        return changed(self, reasons)

    @property
    def exits(self) -> bool:
        """Whether any token can leave before the last layer."""
        return self.exit_objective != "none" and self.entry_layers + self.landing_layers < self.n_layers

    @property
    def keep_shares(self) -> list[float]:
        """Share of tokens each middle layer works on under target_depth; empty without one."""
        if not self.exits or self.target_depth is None:
            return []
        return keep_shares(self.target_depth, self.n_layers, self.entry_layers, self.landing_layers)

    @property
    def graph_layers(self) -> list[int]:
        """Layers that build a graph; the others use the latest one."""
        mesh = [layer for layer in range(self.n_layers) if layer not in self.dense_layers]
        return mesh[:: self.rebuild_every]

    @property
    def graph_spec(self) -> GraphSpec:
        """The graph of the mesh layers."""
        return GraphSpec(
            kind=self.graph,
            k=self.graph_k,
            window=self.local_window,
            successors=self.successors,
            block=self.graph_block,
            k_global=self.k_global,
            exact_until=self.exact_until,
        )

    @classmethod
    def paper(cls) -> Self:
        """The values printed for TMT-Base; they make 44.6 M parameters, not the printed 120 M."""
        return cls(vocab_size=50257, routing_dim=0, local_window=1, successors=False, decay="distance",
                   exit_objective="entropy", stream_inputs="shared")  # fmt: skip
