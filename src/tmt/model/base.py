"""What every architecture shares: embedding, head, loss, decoding state and the interface around them."""

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.errors import InputError
from tmt.layers.cache import Cache, State
from tmt.layers.decay import ForgetGate
from tmt.layers.linear import Linear
from tmt.layers.norm import RMSNorm
from tmt.layers.pair_embedding import PairEmbedding
from tmt.layers.rows import rolled
from tmt.model.common_config import ModelConfig
from tmt.model.output import Hidden, ModelOutput
from tmt.ops import cross_entropy, norm
from tmt.ops.cross_entropy import linear_cross_entropy, softcapped, token_nll

IGNORE = -100
"""Target value that is not scored."""


class LanguageModel(nn.Module, ABC):
    """Tokens (B, T) in, next-token logits (B, T, V) out. Subclasses implement :meth:`trunk`.

    All else has a default. A trunk that keeps nothing in its cache has no decoding state, and what it writes
    it writes by reading the text again; without :meth:`flops` its cost is not counted.
    """

    config: Any
    """The architecture's own :class:`ModelConfig`."""
    softcap: float | None = None
    """Bound of the logits, reached by ``c·tanh(z / c)``; None for none."""
    origin: int = 0
    """Where rotations count positions from; no logit depends on it where only distances count."""

    def __init__(self, config: ModelConfig, norm: nn.Module | None = None):
        """`norm` stands before the head (default: an RMS norm)."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.head = Linear(config.d_model, config.vocab_size, bias=False)
        self.norm = RMSNorm(config.d_model, config.layer_norm_eps) if norm is None else norm
        self.dropout = nn.Dropout(config.dropout)
        self.pairs: PairEmbedding | None = None
        """Added to the embeddings of whole sequences where a score learns one; not part of the model."""
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    @abstractmethod
    def trunk(self, tokens: Tensor, cache: Cache, diagnose: bool, last_only: bool) -> Hidden:
        """Everything from the tokens (B, T), which :meth:`embed` embeds, to before the last norm.

        `diagnose` asks for the costly extras; `last_only` allows states of the last valid tokens alone.
        """

    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        padding_side: Literal["right", "left"] = "right",
        targets: Tensor | None = None,
        last_only: bool = False,
        return_state: bool = False,
        return_diagnostics: bool | None = None,
        capacity: int | None = None,
    ) -> ModelOutput:
        """Run the model.

        Args:
            tokens: (B, T) int64.
            state: what an earlier call returned; its tokens come before these. Several calls may go on
                from it.
            lengths: (B,) valid tokens of each row, at least 1; the rest is padding.
            padding_side: the side that the padding is on; it changes no logit of a valid token.
            targets: (B, T) int64 (−100: not scored): compute the loss instead of logits.
            last_only: logits of each row's last valid token only.
            return_state: return the decoding state (implied by `state`), of models that have one.
            return_diagnostics: keep what the architecture's output needs for inspection, which is made when
                it is read (default: but for training with targets, where it would hold memory).
            capacity: for tokens (B, 1) after a state, of rows with fewer tokens than that before: buffers of
                that length, read whole under a mask, so that nothing on the host depends on how much was
                read. Of models that are `decodes_statically`, without gradients.

        Raises:
            ValueError: for tokens of another shape or type or outside the vocabulary, or a sequence beyond
                the configuration's limit.
        """
        require_tokens(tokens)
        left = lengths is not None and padding_side == "left"
        if left:
            tokens = rolled(tokens, lengths)
            targets = None if targets is None else rolled(targets, lengths)
        cache = Cache(tokens, state, lengths, keep=return_state or state is not None, capacity=capacity)
        self._check(tokens, cache)
        diagnose = (
            (targets is None or not self.training) if return_diagnostics is None else return_diagnostics
        )
        last_only = last_only and targets is None
        hidden = self.trunk(tokens, cache, diagnose, last_only)
        output, states = hidden.output, hidden.states
        output.work = output.work or [partial(self._trunk_flops, *tokens.shape)]
        output.layer_tokens = output.layer_tokens or [tokens.numel()] * self.config.n_layers
        if targets is not None:
            scored = self._score(output, self.norm(states), targets)
        else:
            if last_only and not hidden.last:
                rows = torch.arange(len(tokens), device=states.device) * tokens.shape[1]
                states = states[rows + cache.new - 1]
            output.logits = self.predict(self.norm(states)).unflatten(0, (len(tokens), -1))
            scored = len(states)
        output.work += cache.work
        output.work.append(partial(self.head_flops, scored))
        if left:
            output.padded_on_the_left(lengths)
        if cache.keep and cache.kept:
            output.state = cache.state()
        return output

    def _score(self, output: ModelOutput, states: Tensor, targets: Tensor) -> int:
        """Fill in the loss; returns how many rows of `states` the head read."""
        weight, flat = self.head.weight, targets.flatten()
        if torch.is_grad_enabled():
            output.loss = linear_cross_entropy(states, weight, flat, IGNORE, self.softcap)
            return len(flat)
        output.nll = token_nll(states, weight, flat, IGNORE, self.softcap).view_as(targets)
        counted = int((flat != IGNORE).sum())
        output.loss = output.nll.sum() / max(1, counted)
        return counted

    def encode(self, tokens: Tensor) -> Tensor:
        """Sequences (B, T) to what the head reads at each token (B, T, D); ValueError as in `forward`."""
        require_tokens(tokens)
        cache = Cache(tokens, None, None, keep=False)
        self._check(tokens, cache)
        states = self.trunk(tokens, cache, diagnose=False, last_only=False).states
        return self.norm(states).unflatten(0, tokens.shape)

    def predict(self, states: Tensor) -> Tensor:
        """What the head reads (…, D) to logits (…, V)."""
        return softcapped(self.head(states), self.softcap)

    def embed(self, tokens: Tensor) -> Tensor:
        """(B, T) to (B·T, D), in the autocast type when there is one."""
        x = F.embedding(tokens.flatten(), self.embedding.weight)
        x = self.dropout(x if self.pairs is None else x + self.pairs(tokens).flatten(0, 1))
        device = x.device.type
        return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x

    @property
    def decodes_statically(self) -> bool:
        """Whether a step of decoding can be the same for the host whatever was read; see `capacity`."""
        return True

    def set_progress(self, share: float) -> None:
        """Hear which share of the training budget is used, before every step of training."""
        return

    def after_step(self, statistics: dict[str, Tensor]) -> None:
        """Update what is not trained by gradient, once per optimiser step."""
        return

    def figures(self) -> dict[str, float]:
        """What is worth logging of what is not trained by gradient; a look at it waits for the device."""
        return {}

    def flops(self, length: int) -> float:
        """Operations of one forward pass over a sequence of `length` tokens, every layer run for all.

        The head is included (:meth:`head_flops`). NaN where a model does not count them: products of
        matrices could be counted by watching, what else it computes could not.
        """
        return math.nan

    def _trunk_flops(self, rows: int, length: int) -> float:
        """Those of the trunk, where it leaves no counters of its own."""
        return rows * (self.flops(length) - self.head_flops(length))

    def notices(self, length: int) -> list[str]:
        """What to know before training on sequences of `length` tokens."""
        return []

    def head_flops(self, rows: int) -> int:
        """Operations of the head for that many rows."""
        return 2 * rows * self.head.weight.numel()

    def ops(self) -> dict[str, str]:
        """The path that each operation takes for weights of this type on this machine."""
        weight = self.head.weight[:1]
        return {
            "rms_norm": "fused" if norm.available(weight) else "torch",
            "cross_entropy": "fused" if cross_entropy.available(weight) else "torch",
        }

    def layers_of(self, depth: Tensor) -> Tensor:
        """Which layers ran (n, n_layers) for tokens that ran `depth` (n,) of them: the first ones, unless a
        model says otherwise."""
        return torch.arange(self.config.n_layers, device=depth.device) < depth[:, None]

    def param_count(self) -> int:
        """Trained parameters, shared ones counted once."""
        return sum(p.numel() for p in self.parameters())

    def extra_repr(self) -> str:
        """The first line of its `repr`."""
        return f"{self.param_count():,} parameters"

    def initialise(self) -> None:
        """Draw all weights from small normal distributions, biases zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=(2 / (5 * module.in_features)) ** 0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.normal_(self.embedding.weight, std=self.config.embedding_std)
        for module in self.modules():
            if isinstance(module, ForgetGate):
                module.initialise()

    def kernels(self) -> dict[str, Tensor]:
        """Toeplitz kernels (H, K, n) float64 by layer, taps of the trained length; empty without any."""
        return {}

    def _check(self, tokens: Tensor, cache: Cache) -> None:
        if cache.reach > self.config.longest:
            raise InputError(f"a sequence of {cache.reach} tokens exceeds {self.config.limit}")
        self.check_vocabulary(tokens)

    def check_vocabulary(self, tokens: Tensor) -> None:
        """Raise InputError for an id outside the vocabulary; on accelerators, where looking waits, do not."""
        if tokens.device.type == "cpu":
            low, high = int(tokens.min()), int(tokens.max())
            if low < 0 or high >= self.config.vocab_size:
                bad = low if low < 0 else high
                raise InputError(f"token id {bad} is outside the vocabulary of {self.config.vocab_size}")


def require_tokens(tokens: Any) -> None:
    """Raise InputError for what is no batch of token ids: an int64 or int32 tensor (B, T) of at least one."""
    if not isinstance(tokens, Tensor):
        what = f"a {type(tokens).__name__}"
    elif tokens.dim() != 2 or tokens.dtype not in (torch.int64, torch.int32):
        what = f"a {tokens.dtype} tensor of shape {tuple(tokens.shape)}"
    elif tokens.numel() == 0:
        raise InputError(f"tokens of shape {tuple(tokens.shape)} hold no token")
    else:
        return
    raise InputError(f"tokens must be a torch.int64 tensor of shape (batch, length), not {what}")
