"""Seeded faults: small models that break one promise each, with the rules that must name it."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.model import build_model
from tmt.model.config import TMTConfig
from tmt.model.transformer import TransformerConfig
from tmt.verify import Subject
from tmt.verify.huggingface import HuggingFace
from tmt.verify.native import Native
from tmt.verify.plain import Plain

VOCAB, WIDTH = 61, 16
SEEN = frozenset({"future", "gradient", "prefix", "training"})
"""The rules that a plain look ahead breaks."""


class Averager(nn.Module):
    """Sound: each token is mixed with the mean of its past. The faults change one thing."""

    vocab_size = VOCAB
    max_seq_len = 128

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.inner = nn.Linear(2 * WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.head(torch.tanh(self.inner(torch.cat([x, self.mix(x)], -1))))

    def mix(self, x: Tensor) -> Tensor:
        count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return x.cumsum(1) / count[:, None]

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())


class Tie(Averager):
    """Sound: the mean counts where it reaches a threshold that one token lies on: rounding decides."""

    threshold: Tensor | None = None

    def mix(self, x):
        mean = super().mix(x)
        other_path = 1 + torch.finfo(x.dtype).eps * (x.shape[1] % 2)
        score = mean[..., 0] * other_path
        if self.threshold is None and x.shape[1] > 5:
            self.threshold = score[0, 5].detach()
        return mean if self.threshold is None else mean * (score >= self.threshold)[..., None]


class TwoSidedMean(Averager):
    def mix(self, x):
        return x.mean(1, keepdim=True).expand_as(x)


class LeakAtSeven(Averager):
    def mix(self, x):
        return super().mix(x) + 1e-3 * F.pad(x, (0, 0, 0, 7))[:, 7:]


class LateLeak(Averager):
    """Of the last token, once a text is longer than 80."""

    def mix(self, x):
        return super().mix(x) + (x[:, -1:] if x.shape[1] > 80 else 0)


class FaintLeak(Averager):
    def mix(self, x):
        return super().mix(x) + 1e-9 * F.pad(x, (0, 0, 0, 1))[:, 1:]


class LeakInSinglePrecision(Averager):
    """As a fast kernel may: float64 takes another path."""

    def mix(self, x):
        mean = super().mix(x)
        return mean + 0.01 * F.pad(x, (0, 0, 0, 1))[:, 1:] if x.dtype == torch.float32 else mean


class NormOverTime(Averager):
    """A batch norm, which takes its statistics from all tokens while it trains."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)

    def mix(self, x):
        return self.norm(super().mix(x).transpose(1, 2)).transpose(1, 2)


class TellingDropout(Averager):
    """Which channels drop out depends on the whole text."""

    def mix(self, x):
        mean = super().mix(x)
        if not self.training:
            return mean
        generator = torch.Generator().manual_seed(int(x.detach().sum().abs() * 1000))
        return mean * (torch.rand(WIDTH, generator=generator).to(x) < 0.5)


class ChunkEdge(Averager):
    """Sums within chunks of 8, the first token of the next chunk among them."""

    def mix(self, x):
        length = x.shape[1]
        query, key = torch.arange(length)[:, None], torch.arange(length)
        seen = (key <= query) | (key == (query // 8 + 1) * 8) & (query % 8 == 7)
        return (seen.to(x) / 8) @ x


class TopKOfAll(Averager):
    """Only the eight tokens of the text with the highest score are mixed."""

    def mix(self, x):
        score = x[..., 0]
        kept = torch.zeros_like(score).scatter(1, score.topk(min(8, x.shape[1]), 1).indices, 1.0)
        return super().mix(x) * kept[..., None]


class Smear(Averager):
    """Says that documents are kept apart, and lets the last token of one reach the first of the next."""

    separator = 3

    def forward(self, tokens):
        x = self.embedding(tokens)
        before = F.pad(x, (0, 0, 1, 0))[:, :-1]
        return self.head(torch.tanh(self.inner(torch.cat([x, before], -1))))


class Apart(Smear):
    """Sound: the same, masked where a document begins."""

    def forward(self, tokens):
        x = self.embedding(tokens)
        before = F.pad(x, (0, 0, 1, 0))[:, :-1] * (tokens != self.separator)[..., None]
        return self.head(torch.tanh(self.inner(torch.cat([x, before], -1))))


class RowsMeet(Averager):
    def mix(self, x):
        return super().mix(x) + 0.1 * x.mean(0, keepdim=True)


class ShiftedLoss(Averager):
    def loss(self, tokens, targets):
        return super().loss(tokens[:, :-1], targets[:, 1:])


class CountedTwice(Averager):
    def loss(self, tokens, targets):
        last = torch.cat([targets, targets[:, -1:]], 1)
        logits = self(tokens)
        return F.cross_entropy(torch.cat([logits, logits[:, -1:]], 1).flatten(0, 1), last.flatten())


class PartOfVocabulary(Averager):
    """The loss of a sampled softmax: the upper half of the vocabulary costs nothing."""

    def loss(self, tokens, targets):
        logits = self(tokens)
        some = torch.cat([logits[..., : VOCAB // 2].flatten(0, 1).logsumexp(-1, keepdim=True)], 1)
        flat = targets.flatten()
        nll = some[:, 0] - logits.flatten(0, 1).gather(1, flat.clamp(min=0)[:, None])[:, 0]
        return nll[flat != -100].mean()


class Impossible(Averager):
    def forward(self, tokens):
        return super().forward(tokens).index_fill(-1, torch.tensor([5]), -torch.inf)


class Restless(Averager):
    def mix(self, x):
        return super().mix(x) + 1e-4 * torch.randn_like(x)


class NothingToDivideBy(Averager):
    """By how far the text has moved from its first token: by nothing, where all tokens are one."""

    def mix(self, x):
        moved = (x - x[:, :1]).abs().amax(-1).cummax(1).values
        late = torch.arange(x.shape[1]) >= 16
        return super().mix(x) / moved.where(late, 1.0).clamp(max=1)[..., None]


class Unsaved(Averager):
    """Scales by what no file holds."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "scale", 2.0))

    def mix(self, x):
        return self.scale * super().mix(x)


def transformer(**overrides: Any) -> nn.Module:
    """A tiny dense transformer whose blocks speak."""
    sizes = dict(vocab_size=VOCAB, max_seq_len=96, d_model=16, n_heads=2, n_layers=2, ffn_dim=24, dropout=0.0)
    return loud(build_model("transformer", TransformerConfig(**{**sizes, **overrides})))


@torch.no_grad()
def loud(model: nn.Module) -> nn.Module:
    torch.manual_seed(2)
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * (0.3 if weight.ndim > 1 else 0.1))
    return model.eval()


class Forgetful(Native):
    """A cache that loses the token at position 3."""

    def read(self, tokens, state=None, lengths=None):
        logits, state = super().read(tokens, state, lengths)
        for buffer in state[1:]:
            if buffer.ndim > 2 and buffer.shape[1] > 3:
                buffer[:, 3] = 0
        return logits, state


class OneBuffer(Native):
    """Every state shares its tensors with the one before."""

    def read(self, tokens, state=None, lengths=None):
        logits, new = super().read(
            tokens, None if state is None else tuple(t.clone() for t in state), lengths
        )
        if state is not None:
            for old, fresh in zip(state, new, strict=True):
                old.data = fresh.data
            return logits, state
        return logits, new


class OffByOne(HuggingFace):
    """Positions of rows that are padded on the left begin at 1."""

    def logits(self, tokens, lengths=None, side="right"):
        if lengths is None or side == "right":
            return super().logits(tokens, lengths, side)
        place = torch.arange(tokens.shape[1])
        mask = (place >= tokens.shape[1] - lengths[:, None]).long()
        return self._call(input_ids=tokens, attention_mask=mask, position_ids=mask.cumsum(1)).logits


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    size = dict(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=96)
    return loud(GPT2LMHeadModel(GPT2Config(**size, bos_token_id=None, eos_token_id=None)))


def turning_anchors() -> Subject:
    sizes = dict(vocab_size=VOCAB, max_seq_len=96, d_model=16, n_heads=2, n_layers=2, dropout=0.0)
    mesh = dict(graph_k=2, local_window=4, routing_dim=8, ffn_stream_dim=12, memory_anchors=3)
    config = TMTConfig(**sizes, **mesh, exit_objective="none", anchor_query="rotated")
    return Native(loud(build_model("tmt", config)), "rotated anchors")


FAULTS: dict[str, tuple[Callable[[], Subject], frozenset[str]]] = {
    **{
        kind.__name__: (lambda kind=kind: Plain(kind().eval(), kind.__name__), frozenset(rules))
        for kind, rules in {
            TwoSidedMean: SEEN,
            LeakAtSeven: SEEN,
            FaintLeak: SEEN,
            LeakInSinglePrecision: SEEN,
            NormOverTime: {"training"},
            TellingDropout: {"training"},
            ChunkEdge: SEEN,
            TopKOfAll: SEEN - {"gradient"},
            Smear: {"documents"},
            RowsMeet: {"rows"},
            ShiftedLoss: {"loss"},
            CountedTwice: {"loss"},
            PartOfVocabulary: {"loss", "distribution"},
            Impossible: {"distribution", "extremes"},
            NothingToDivideBy: {"extremes"},
            Unsaved: {"formats"},
        }.items()
    },
    "Forgetful": (
        lambda: Forgetful(transformer(), "Forgetful"),
        frozenset({"cached", "ragged", "reordered", "stored", "twice"}),
    ),
    "OneBuffer": (lambda: OneBuffer(transformer(), "OneBuffer"), frozenset({"twice"})),
    "OffByOne": (lambda: OffByOne(gpt2(), "OffByOne"), frozenset({"padding"})),
    "turning anchors": (turning_anchors, frozenset({"shift"})),
}
"""How each is made, and exactly the rules that it breaks, in one number format or another."""
