"""A cache of what followed when the model was in a like state (Grave, Joulin & Usunier, 2017)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tmt.adaptive.mixture import MixtureWeights, Tally
from tmt.adaptive.part import Block, Chunk, Part
from tmt.model.checks import require_positive
from tmt.ops.precision import at_least_float32
from tmt.training.distributed import Ranks

ROWS = 256
"""Rows that are compared with the entries at once."""
START, STRENGTH = 0.05, 20.0
"""The cache's weight at first, and the observations that it counts for."""
LEVELS = (0.1, 0.3, 0.6)
"""What parts the largest probabilities that weights are learnt for, the model's and the cache's."""


@dataclass(frozen=True, kw_only=True)
class NeuralCacheSettings:
    """Size and shape of a cache. Raises InputError naming a bad field."""

    entries: int = 4096
    """Positions before the one to predict that are looked at."""
    sharpness: float = 50.0
    """What the cosine of two states is multiplied by before the softmax."""

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "entries", "sharpness")


class NeuralCache(Part):
    """Mixes in q(v) ∝ Σ exp(sharpness · cos(h_g, h_i)) over the positions i that v followed.

    Position g looks at the `entries` positions before it, whose next tokens it knows. The weight of q is
    learnt for each pair of ranges of max q and max p.
    """

    name = "cache"
    reads = "the model's states so far, and the tokens that followed them"

    def __init__(self, settings: NeuralCacheSettings):
        self._settings = settings
        buckets = (len(LEVELS) + 1) ** 2
        self._weights = MixtureWeights(torch.full((buckets,), START), STRENGTH)
        self._tally = Tally(buckets, 3)
        # The latest positions, `entries` at most: unit vectors (e, D), and the tokens (e,) that they read.
        self._states, self._tokens = torch.zeros(0, 0), torch.zeros(0, dtype=torch.long)
        self._blended: tuple[Tensor, Tensor, Tensor] | None = None

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        """See :class:`Part`; where nothing came before, the row stays as it is."""
        mixed = log_probs.clone()
        bucket = torch.zeros(len(log_probs), dtype=torch.long, device=log_probs.device)
        levels = log_probs.new_tensor(LEVELS)
        for rows, tokens, attention in self._attend(block):
            p = log_probs[rows]
            q = torch.zeros_like(p).scatter_add_(1, tokens.expand_as(attention), attention)
            cache, model = (torch.bucketize(x, levels) for x in (q.amax(1), p.amax(1).exp()))
            bucket[rows] = cache * (len(LEVELS) + 1) + model
            weight = self._weights.weights(bucket[rows])[:, None]
            mixed[rows] = torch.logaddexp(p + (-weight).log1p(), (weight * q).log())
        self._blended = bucket, log_probs, mixed
        return mixed

    def book(self, block: Block, targets: Tensor) -> None:
        """See :class:`Part`."""
        assert self._blended is not None
        buckets, *stages = self._blended
        self._blended = None
        own = targets[block.own, None]
        for rows, tokens, attention in self._attend(block):
            target, bucket = own[rows], buckets[rows]
            q = attention.masked_fill(tokens != target, 0).sum(1)
            before, after = (stage[rows].gather(1, target)[:, 0].double() for stage in stages)
            self._weights.observe(bucket, before.exp(), q)
            weight = self._weights.weights(bucket)
            self._tally.add(bucket, torch.stack([torch.ones_like(q), weight, after - before], 1))
        states, tokens = self._with(block)
        last = slice(-self._settings.entries, None)
        self._states, self._tokens = states[last].clone(), tokens[last].clone()

    def _attend(self, block: Block) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Own rows that have entries, some at a time: which, all entries' tokens (e,) and weights (r, e).

        These are computed when a block is blended and again when it is booked, not kept between.
        """
        states, tokens = self._with(block)
        past = len(states) - len(block.ids)
        low, high, _ = block.own.indices(len(block.ids))
        for start in range(max(past + low, 1), past + high, ROWS):
            end = min(start + ROWS, past + high)
            first = max(start - self._settings.entries, 0)
            scores = self._settings.sharpness * states[start:end] @ states[first : end - 1].T
            position = torch.arange(first, end, device=scores.device)
            lag = position[start - first :, None] - position[:-1]
            scores.masked_fill_((lag < 1) | (lag > self._settings.entries), -torch.inf)
            rows = slice(start - past - low, end - past - low)
            yield rows, tokens[first + 1 : end], scores.softmax(1)

    def _with(self, block: Block) -> tuple[Tensor, Tensor]:
        """States and tokens kept before the block, and its own behind them."""
        states = normalize(at_least_float32(block.states), dim=1)
        kept = self._states.to(states).reshape(len(self._tokens), states.shape[1])
        ids = torch.from_numpy(block.ids).to(states.device)
        return torch.cat([kept, states]), torch.cat([self._tokens.to(ids), ids])

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        """See :class:`Part`."""
        self._weights.learn(ranks)
        self._tally.learn(ranks)

    def state(self) -> dict[str, Any]:
        """See :class:`Part`."""
        return {
            "weights": self._weights.state(),
            "tally": self._tally.total,
            "states": self._states,
            "tokens": self._tokens,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See :class:`Part`."""
        self._weights.restore(state["weights"])
        self._tally.restore(state["tally"])
        self._states, self._tokens = state["states"], state["tokens"]

    def figures(self) -> dict[str, Any]:
        """Rows with entries, the cache's mean weight in them, and the nats gained in all."""
        rows, weight, nats = self._tally.total.sum(0).tolist()
        return {"rows": int(rows), "weight": weight / rows if rows else None, "gain_nats": nats}
