"""What a scored stream amounts to, in every unit."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Score:
    """How well a model predicts a stream. Figures per token are per scored target."""

    tokens: int
    """Targets scored."""
    bytes: int
    """UTF-8 bytes of the text that they spell."""
    raw_bytes: int | None
    """UTF-8 bytes of the text that a tokenizer made that of; None where only the tokens are known."""
    words: int
    """Words between white space of their text."""
    total_nats: float
    """Summed negative log-likelihood."""
    context: int
    """Most inputs per forward pass."""
    stride: int
    """Targets scored per forward pass after the first."""
    flops: float
    """Operations of all forward passes, tokens seen again as context included, as if every window were
    scored alone: what a batch shares counts for each of its windows, what it pads for none."""
    flops_dense: float
    """Operations of the same passes with every layer run for every token."""
    layer_tokens: npt.NDArray[np.int64]
    """(L,) tokens that each layer worked on, of those that a scored target follows."""
    seen: npt.NDArray[np.int64]
    """(V,) tokens that a scored target follows, each once, by id."""
    layers_run: npt.NDArray[np.int64]
    """(V,) layers that those tokens ran, summed."""
    nats_at: npt.NDArray[np.float64]
    """(context,) negative log-likelihood after each position of a window, summed."""
    scored_at: npt.NDArray[np.int64]
    """(context,) targets scored after each position of a window."""

    @property
    def nats(self) -> float:
        """Nats per token."""
        return self.total_nats / self.tokens

    @property
    def ppl(self) -> float:
        """Perplexity per token."""
        return perplexity(self.nats)

    @property
    def bpb(self) -> float:
        """Bits per byte of the text that the targets spell; NaN where there is none."""
        return self._bits_per(self.bytes)

    @property
    def raw_bpb(self) -> float:
        """Bits per byte of the raw text; NaN where there is none, or it is not known."""
        return self._bits_per(self.raw_bytes)

    @property
    def word_ppl(self) -> float:
        """Perplexity per word; NaN where the targets have no word."""
        return perplexity(self.total_nats / self.words) if self.words else math.nan

    @property
    def mean_layers(self) -> float:
        """Layers run by a token before its target is scored."""
        return float(self.layers_run.sum() / self.seen.sum())

    @property
    def mean_depth(self) -> float:
        """The same as a share of the model's layers."""
        return self.mean_layers / len(self.layer_tokens)

    @property
    def layer_share(self) -> list[float]:
        """Share of the tokens before scored targets that each layer worked on."""
        return (self.layer_tokens / self.seen.sum()).tolist()

    @property
    def nats_by_position(self) -> dict[str, float]:
        """Nats per token by the tokens read so far in the window: "1", "2", "3-4", "5-8", …."""
        buckets, low = {}, 0
        while low < len(self.nats_at):
            high = max(1, 2 * low)
            scored = int(self.scored_at[low:high].sum())
            name = str(high) if high - low == 1 else f"{low + 1}-{min(high, len(self.nats_at))}"
            if scored:
                buckets[name] = float(self.nats_at[low:high].sum()) / scored
            low = high
        return buckets

    @property
    def flops_per_token(self) -> float:
        """Operations executed per scored token."""
        return self.flops / self.tokens

    @property
    def flops_per_token_dense(self) -> float:
        """The same without exits."""
        return self.flops_dense / self.tokens

    def _bits_per(self, size: int | None) -> float:
        return self.total_nats / math.log(2) / size if size else math.nan


def perplexity(nats: float) -> float:
    """e to so many nats per token; infinite where no float holds it."""
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
