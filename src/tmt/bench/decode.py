"""Single decoding steps after a long context, each architecture with its own cache."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from tmt.bench.models import build, draw_tokens, inference, matches
from tmt.bench.parity import DECODING_TOLERANCE, require_parity
from tmt.bench.series import Pair, Precision, Series, Settings
from tmt.bench.timing import MOST
from tmt.errors import InputError
from tmt.layers.cache import State
from tmt.layers.toeplitz_convolution import ToeplitzConvolution
from tmt.model.base import LanguageModel

CHUNK = 1024
"""Tokens of the context that are read at once."""
ROOM = 2 * MOST
"""Tokens that may follow the context."""
SMALL_CONTEXT = (20, 27, 1, 1)
"""Tokens that the calls of the check read."""


def series(settings: Settings) -> Iterator[Series]:
    """One series a match and number format; a row's length is the context's."""
    for match in matches(settings):
        ours, peer = (build(arch, settings, room=ROOM) for arch in (match.arch, match.peer))
        for dtype in settings.dtypes:
            yield Series(
                name=match.arch,
                impl=_remembering(ours) or match.impl(dtype, settings.device),
                peer=match.peer,
                direction="decode",
                dtype=dtype,
                at=partial(step_pair, (ours, peer), dtype, settings),
                check=partial(check_decoding, match.arch, ours),
            )


class Decoder:
    """A model and what it remembers of the tokens it has read."""

    def __init__(self, model: LanguageModel):
        self._model = model
        self.state: State | None = None
        """Behind those tokens; the next call consumes it."""

    def read(self, tokens: Tensor) -> Tensor:
        """Take in (B, T) tokens; the logits (B, V) after the last of them."""
        output = self._model(tokens, self.state, last_only=True, return_state=True, return_diagnostics=False)
        if output.state is None:
            name = type(self._model).__name__
            raise InputError(f"{name} keeps no decoding state: it has no step to time")
        self.state = output.state
        return output.logits[:, -1]


@torch.no_grad()
def check_decoding(name: str, model: LanguageModel) -> None:
    """A short context read in parts, then token by token, must end in the logits of one pass over it all."""
    tokens = draw_tokens(model, 1, sum(SMALL_CONTEXT))
    decoder = Decoder(model)
    cached = [decoder.read(part) for part in tokens.split(SMALL_CONTEXT, 1)][-1]
    whole = model(tokens, last_only=True, return_diagnostics=False).logits[:, -1]
    require_parity(f"{name} (cached)", {"logits": cached}, {"logits": whole}, DECODING_TOLERANCE)


def step_pair(
    models: tuple[LanguageModel, LanguageModel], dtype: Precision, settings: Settings, length: int
) -> Pair:
    """One more token a call; the first one beyond the context may enlarge the buffers, and is not timed."""
    calls = []
    for model in models:
        decoder, tokens = Decoder(model), draw_tokens(model, settings.batch, length + 1)
        read_context(decoder, tokens[:, :-1], dtype, settings.device)
        calls.append(inference(partial(decoder.read, tokens[:, -1:]), dtype, settings.device))
    return Pair(*calls, tokens=settings.batch, facts={"preset": settings.preset})


def read_context(decoder: Decoder, tokens: Tensor, dtype: Precision, device: torch.device) -> None:
    """Take in (B, S) tokens, part by part."""
    for chunk in tokens.split(CHUNK, 1):
        inference(partial(decoder.read, chunk), dtype, device)()


def _remembering(model: LanguageModel) -> str | None:
    """What its convolutions remember between steps, where it has any."""
    convolutions = (module for module in model.modules() if isinstance(module, ToeplitzConvolution))
    return next((convolution.decode for convolution in convolutions), None)
