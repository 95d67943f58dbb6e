"""The ways to run one Toeplitz mixer against each other: on prompts, single steps and whole generations.

Both sides of a row compute the same function: the peer's kernels are the taps of ours, written out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor

from tmt.bench.decode import ROOM, Decoder, step_pair
from tmt.bench.models import build, draw_tokens, inference
from tmt.bench.parity import require_parity
from tmt.bench.series import Direction, Pair, Precision, Series, Settings
from tmt.layers.toeplitz_convolution import ToeplitzConvolution
from tmt.layers.toeplitz_kernel import RawKernel
from tmt.layers.toeplitz_relaxed import LEAST_ROOM
from tmt.layers.toeplitz_state import CHUNK
from tmt.model.base import LanguageModel
from tmt.model.registry import build_model
from tmt.model.toeplitz_config import ToeplitzConfig

ARCH = "toeplitz"
FIR_TAPS = 64
"""Length of the short kernel."""
CHECKED_CONTEXT = CHUNK + 100
"""Tokens after which the logits must be equal: more than the state takes in at once."""
CHECKED_GENERATION = 2 * LEAST_ROOM + 10
"""Tokens of the generation that must end in equal logits: room for outputs is made more than once."""
TOLERANCE = 1e-4
"""Largest relative difference between the logits of two ways, in float32."""

Models = tuple[LanguageModel, LanguageModel]
"""Ours and the peer."""
Call = Callable[[LanguageModel, Tensor], Tensor]
"""Tokens (B, S) to the logits (B, V) after the last of them."""
Pairing = Callable[[Models, Precision, Settings, int], Pair]
"""The calls on two models at a length."""


@dataclass(frozen=True)
class Way:
    """One way against another."""

    name: str
    impl: str
    peer: str
    direction: Direction
    models: Models
    pair: Pairing
    checked: int
    """Length at which the logits of the two calls must be equal."""

    def series(self, dtype: Precision, settings: Settings) -> Series:
        """The way in one number format."""
        return Series(
            name=self.name,
            impl=self.impl,
            peer=self.peer,
            direction=self.direction,
            dtype=dtype,
            at=partial(self.pair, self.models, dtype, settings),
            check=partial(self.check, settings),
        )

    def check(self, settings: Settings) -> None:
        """Raise InputError unless the two calls give the same logits in float32."""
        pair = self.pair(self.models, "fp32", settings, self.checked)
        actual, expected = ({"logits": cast("Tensor", call())} for call in (pair.ours, pair.peer))
        require_parity(f"{self.name} ({self.impl})", actual, expected, TOLERANCE)


def series(settings: Settings) -> Iterator[Series]:
    """Every way in every number format."""
    if settings.arch in (None, ARCH):
        for way in ways(settings):
            yield from (way.series(dtype, settings) for dtype in settings.dtypes)


def ways(settings: Settings) -> Iterator[Way]:
    """Prompts by a short kernel, by a state, without all logits; steps by a state; relaxed generations."""
    longest = replace(settings, lengths=(*settings.lengths, CHECKED_CONTEXT))
    make = partial(build, ARCH, longest, ROOM)
    prompt = partial(_pair, (read, read))
    fir = make(kernel_length=FIR_TAPS, beyond="fir", toeplitz="blocked")
    yield Way("prompt, fir", "blocked", "fft", "forward", (fir, written_out(fir)), prompt, CHECKED_CONTEXT)
    state = make(kernel="expsum")
    peer = written_out(state)
    yield Way("prompt, state", "state", "fft", "forward", (state, peer), prompt, CHECKED_CONTEXT)
    logits = partial(_pair, (last_logits, all_logits))
    yield Way("prompt, logits", "last", "all", "forward", (peer, peer), logits, CHECKED_CONTEXT)
    yield Way("step, state", "state", "direct", "decode", (state, peer), step_pair, CHECKED_CONTEXT)
    generation = partial(_pair, (generate, generate))
    models = (written_out(peer, decode="relaxed"), peer)
    yield Way("generation", "relaxed", "direct", "decode", models, generation, CHECKED_GENERATION)


def read(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Read a prompt, ready to go on."""
    return Decoder(model).read(tokens)


def last_logits(model: LanguageModel, tokens: Tensor) -> Tensor:
    """One pass that keeps nothing, asked for the last logits."""
    return cast("Tensor", model(tokens, last_only=True, return_diagnostics=False).logits)[:, -1]


def all_logits(model: LanguageModel, tokens: Tensor) -> Tensor:
    """One pass that keeps nothing, asked for every token's logits."""
    return cast("Tensor", model(tokens, return_diagnostics=False).logits)[:, -1]


def generate(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Read token by token from the first; the record of its memory takes some 3 MB a token."""
    decoder = Decoder(model)
    for token in tokens[:, :-1].split(1, 1):
        decoder.read(token)
    return decoder.read(tokens[:, -1:])


@torch.no_grad()
def written_out(model: LanguageModel, decode: Literal["direct", "relaxed"] = "direct") -> LanguageModel:
    """The same function with every tap that it may need as a weight; biases of a fresh model, which are 0."""
    config = cast("ToeplitzConfig", model.config)
    length = config.longest
    config = replace(
        config, kernel="raw", kernel_length=length, beyond="error", toeplitz="fft", decode=decode
    )
    peer = build_model(ARCH, config).to(model.head.weight.device).eval()
    peer.load_state_dict(
        {n: w for n, w in model.state_dict().items() if ".convolutions." not in n}, strict=False
    )
    for ours, theirs in zip(_convolutions(model), _convolutions(peer), strict=True):
        taps = ours.taps(length)
        weight = cast("RawKernel", theirs.kernel).weight
        weight.zero_()[..., : taps.shape[2]] = taps
    return peer


def _convolutions(model: LanguageModel) -> list[ToeplitzConvolution]:
    return [module for module in model.modules() if isinstance(module, ToeplitzConvolution)]


def _pair(
    calls: tuple[Call, Call], models: Models, dtype: Precision, settings: Settings, length: int
) -> Pair:
    tokens = draw_tokens(models[0], settings.batch, length)
    ours, peer = (
        inference(partial(call, model, tokens), dtype, settings.device)
        for call, model in zip(calls, models, strict=True)
    )
    return Pair(ours, peer, tokens=tokens.numel(), facts={"preset": settings.preset})
