"""How much of its input one state of a model holds: what a decoder can read back from it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from tmt.checkpoint import load_run
from tmt.errors import InputError
from tmt.layers.cache import Cache
from tmt.model import build_model
from tmt.model.base import LanguageModel, ModelOutput
from tmt.model.checks import require
from tmt.model.common_config import ModelConfig
from tmt.tasks.learn import Objective, Plan, fit, language_objective, model_figures, with_penalty
from tmt.tasks.models import identity
from tmt.tokens import TokenSplits, TokenStream
from tmt.tokens.loader import TokenLoader

EncoderKind = Literal["untrained", "trained", "autoencoder"]
WINDOWS = 256
"""Windows of each held-out split that are scored."""
BATCH = 32
"""Windows decoded at once."""

Encode = Callable[[Tensor], Tensor]
"""Tokens (B, n) to one vector each, (B, D)."""


@dataclass(frozen=True)
class Information:
    """Read text back from one frozen state: of a trained encoder, an untrained one, and an autoencoder."""

    length: int = 64
    """Tokens that the state stands for."""

    default_steps: ClassVar[int] = 2000

    def __post_init__(self):
        """Validate every field."""
        require(self.length >= 2, self, "length", "must be at least 2")


class Trunk(nn.Module):
    """A model without its head."""

    def __init__(self, model: LanguageModel):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> tuple[Tensor, ModelOutput]:
        """(B, T) to the states (B, T, D) that the head would read."""
        hidden = self.model.trunk(tokens, Cache(tokens, None, None, keep=False), False, False)
        return self.model.norm(hidden.states).unflatten(0, tokens.shape), hidden.output


class Decoder(nn.Module):
    """The blocks and head of a fresh model on one vector e, unrolled: input i is P·e[i … i+D/2−1 mod D]."""

    def __init__(self, model: LanguageModel):
        super().__init__()
        width = model.config.d_model
        self.trunk = Trunk(model)
        self.project = nn.Linear(width // 2, width, bias=False)

    def forward(self, vectors: Tensor, length: int) -> tuple[Tensor, ModelOutput]:
        """Vectors (B, D) to logits (B, length, V), token i at position i."""
        batch, width = vectors.shape
        device = vectors.device
        channels = torch.arange(length, device=device)[:, None] + torch.arange(width // 2, device=device)
        inputs = self.project(vectors[:, channels % width])
        numbers = torch.arange(batch * length, device=device).view(batch, length)
        table = {"model.embedding.weight": inputs.flatten(0, 1)}  # a vocabulary of the inputs themselves
        states, output = functional_call(self.trunk, table, (numbers,))
        return self.trunk.model.head(states), output


@dataclass(frozen=True)
class InformationJob:
    """An encoder to make, and a decoder to train on its states."""

    sizes: Information
    kind: EncoderKind
    arch: str
    config: ModelConfig
    plan: Plan
    data: str
    """Name of the corpus."""
    splits: TokenSplits
    run_folder: Path | None = None
    """The trained encoder; None trains one."""

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this job from others, as in its record."""
        source = None if self.run_folder is None else str(self.run_folder)
        return {
            "task": "information", "sizes": asdict(self.sizes), "encoder": self.kind, "run": source,
            "data": self.data, **identity(self.arch, self.config), **self.plan.identity,
        }  # fmt: skip

    def run(self) -> dict[str, Any]:
        """Make the encoder, train the decoder and score it; the record without its identity."""
        plan, length = self.plan, self.sizes.length
        torch.manual_seed(plan.seed)
        encoder = self._encoder()
        decoder = Decoder(build_model(self.arch, self.config)).to(plan.device)
        whole = self.kind == "autoencoder"
        draw = self._draw("decoder")
        if whole:
            objective = autoencoder_objective(encoder.train(), decoder.train(), lambda: draw()[0])
            figures = fit(nn.ModuleList([encoder, decoder]), objective, plan, f"autoencoder {self.arch}")
            encode = partial(state_at, encoder.eval(), -1)
        else:
            encode = frozen(encoder)
            objective = decoder_objective(encode, decoder.train(), lambda: draw()[0], length - 1)
            figures = fit(decoder, objective, plan, f"{self.kind} encoder, decoder {self.arch}")
        scored = length if whole else length - 1
        valid, test = (
            retention(encode, decoder.eval(), windows(stream, length).to(plan.device), scored)
            for stream in (self.splits.valid, self.splits.test)
        )
        return {
            **model_figures(encoder, length),
            **figures,
            "valid_score": valid["score"],
            **test,
            "score_name": "retained",
            "chance": 0.0,
        }

    def _encoder(self) -> LanguageModel:
        if self.kind == "trained" and self.run_folder is not None:
            return load_run(self.run_folder, str(self.plan.device)).model
        encoder = build_model(self.arch, self.config).to(self.plan.device)
        if self.kind == "trained":
            objective = language_objective(encoder.train(), self._draw("encoder"))
            fit(encoder, objective, self.plan, f"encoder {self.arch}")
        return encoder

    def _draw(self, purpose: Literal["encoder", "decoder"]) -> Callable[[], tuple[Tensor, Tensor]]:
        """Batches of the training text, in an order of their own for each purpose."""
        plan = self.plan
        seed = 2 * plan.seed + (purpose == "decoder")
        loader = TokenLoader(
            self.splits.train, batch_size=plan.batch_size, seq_len=self.sizes.length, seed=seed
        )

        def draw() -> tuple[Tensor, Tensor]:
            inputs, targets = next(loader)
            return inputs.to(plan.device), targets.to(plan.device)

        return draw


def state_at(model: LanguageModel, position: int, tokens: Tensor) -> Tensor:
    """The state (B, D) that the head would read at one position of tokens (B, n)."""
    return Trunk(model)(tokens)[0][:, position]


def frozen(model: LanguageModel) -> Encode:
    """A model that is not trained, at position −2: what comes after the last token is never its concern."""
    model.eval().requires_grad_(False)
    return partial(state_at, model, -2)


def decoder_objective(encode: Encode, decoder: Decoder, draw: Callable[[], Tensor], scored: int) -> Objective:
    """The loss of reading the first `scored` tokens back from what `encode` makes of them."""

    def objective() -> tuple[Tensor, Callable[[], object]]:
        tokens = draw()
        with torch.no_grad():
            vectors = encode(tokens)
        logits, output = decoder(vectors, scored)
        loss = with_penalty(F.cross_entropy(logits.mT, tokens[:, :scored]), output)
        return loss, partial(decoder.trunk.model.after_step, output.statistics)

    return objective


def autoencoder_objective(encoder: LanguageModel, decoder: Decoder, draw: Callable[[], Tensor]) -> Objective:
    """The same for all tokens, through an encoder that learns as well and is read at its last position."""

    def objective() -> tuple[Tensor, Callable[[], object]]:
        tokens = draw()
        states, encoded = Trunk(encoder)(tokens)
        logits, decoded = decoder(states[:, -1], tokens.shape[1])
        loss = with_penalty(with_penalty(F.cross_entropy(logits.mT, tokens), encoded), decoded)

        def finish() -> None:
            encoder.after_step(encoded.statistics)
            decoder.trunk.model.after_step(decoded.statistics)

        return loss, finish

    return objective


@torch.no_grad()
def retention(encode: Encode, decoder: Decoder, tokens: Tensor, scored: int) -> dict[str, Any]:
    """What the decoder reads back of the first `scored` of tokens (N, n).

    The score is the part 1 − CE/H₁ of the unigram entropy H₁ of these very tokens, in nats, that is gone.
    """
    targets = tokens[:, :scored]
    logits = torch.cat([decoder(encode(rows), scored)[0] for rows in tokens.split(BATCH)])
    nats = float(F.cross_entropy(logits.mT, targets))
    shares = targets.flatten().bincount().double() / targets.numel()
    entropy = -float(torch.special.xlogy(shares, shares).sum())
    right = (logits.argmax(2) == targets).double()
    return {
        "score": 1 - nats / entropy,
        "accuracy": float(right.mean()),
        "nats": nats,
        "unigram_entropy": entropy,
        "accuracy_by_position": right.mean(0).tolist(),
    }


def windows(stream: TokenStream, length: int) -> Tensor:
    """(N, length) tokens from all over a stream, at most :data:`WINDOWS` times; without overlap."""
    count = min(WINDOWS, len(stream) // length)
    if not count:
        raise InputError(f"a held-out split has {len(stream)} tokens, too few for length={length}")
    starts = np.linspace(0, len(stream) - length, count).astype(int)
    return torch.from_numpy(np.stack([stream[start : start + length] for start in starts]))
