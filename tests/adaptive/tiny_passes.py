"""What the tests of adaptive scores share: tiny models, streams, and passes over them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tiny_models import tiny
from tmt.adaptive.part import Block, Chunk, Part
from tmt.adaptive.scoring import AdaptivePass, ChunkScore, PassSettings
from tmt.evaluate.windows import Tokens
from tmt.model import architecture, build_model
from tmt.model.base import LanguageModel
from tmt.training.distributed import Ranks

VOCAB = 40
MODELS = ("transformer", "toeplitz", "golf", "plain")
"""The last is a TMT whose tokens leave early."""
CUT: dict[str, Any] = dict(window=16, stride=8, chunk=32, batch_size=3)


def tiny_model(variant: str = "transformer", **overrides: Any) -> LanguageModel:
    """In eval mode, the same every time, and every block does something."""
    torch.manual_seed(0)
    if variant != "golf":
        return tiny(variant, vocab_size=VOCAB, **overrides)
    sizes = dict(vocab_size=VOCAB, max_seq_len=64, d_model=16, n_heads=2, n_layers=5, ffn_dim=24)
    shape = dict(rope_dims=4, parallel_from=3, loop_passes=2)
    model = build_model("golf", architecture("golf").config(**{**sizes, **shape, **overrides}))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def random_tokens(count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, VOCAB, count)


def make_pass(
    model: LanguageModel,
    tokens: Tokens,
    *parts: Part,
    ranks: Ranks | None = None,
    targets: int | None = None,
    **cut: int,
) -> AdaptivePass:
    """A pass cut as CUT says where `cut` does not; of the only process, where no others are named."""
    settings = PassSettings(**{**CUT, **cut})
    return AdaptivePass(model, tokens, parts, settings, ranks or Ranks(torch.device("cpu")), targets)


def nats(chunks: Iterable[ChunkScore]) -> npt.NDArray[np.float64]:
    """Losses (targets, 1 + parts) of the chunks."""
    return np.concatenate([chunk.nats for chunk in chunks])


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


class Spy(Part):
    """Notes what it hears and in which order."""

    name, reads = "spy", "everything"

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []
        self.ids: list[int] = []
        self.targets: list[int] = []
        self.sums: list[float] = []
        self.chunks: list[Chunk] = []

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        self.events.append(("blend", block.start, len(block.ids)))
        self.ids += block.ids.tolist()
        self.sums += log_probs.logsumexp(1).tolist()
        assert len(block.ids) == len(block.states) == len(log_probs)
        assert log_probs.shape[1] == VOCAB
        assert not log_probs.requires_grad
        return log_probs

    def book(self, block: Block, targets: Tensor) -> None:
        self.events.append(("book", block.start, len(targets)))
        self.targets += targets.tolist()

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        self.events.append(("learn", chunk.start, len(chunk.ids) - 1))
        self.chunks.append(chunk)


class Recorded:
    """Tokens that remember which spans were read."""

    def __init__(self, tokens: np.ndarray):
        self.tokens, self.spans = tokens, []

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, span: slice) -> np.ndarray:
        self.spans.append((span.start, span.stop))
        return self.tokens[span]
