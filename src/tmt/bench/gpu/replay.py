"""Decoding with every step replayed as a CUDA graph, against the same model step by step."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from tmt.bench.decode import ROOM, SMALL_CONTEXT, Decoder, read_context
from tmt.bench.gpu.models import ARCHITECTURES, measured
from tmt.bench.models import build, draw_tokens, inference
from tmt.bench.parity import DECODING_TOLERANCE, require_parity
from tmt.bench.series import Pair, Precision, Series, Settings
from tmt.generate import captured
from tmt.generate.static_decoder import StaticDecoder
from tmt.model.base import LanguageModel

CHECKED = captured.WARM_UP + 3
"""Steps of the check: those that warm up, and replays."""


def rows(settings: Settings) -> Iterator[dict[str, Any]]:
    """One architecture after the other; a row's length is the context's."""
    for series in _series(settings):
        yield from measured(series, settings)


def _series(settings: Settings) -> Iterator[Series]:
    for arch in ARCHITECTURES:
        model = build(arch, settings, room=ROOM)
        for dtype in settings.dtypes:
            yield Series(
                name=arch,
                impl="CUDA graph" if captured.possible(settings.device) else "static step",
                peer="step by step",
                direction="decode",
                dtype=dtype,
                at=partial(_pair, model, dtype, settings),
                check=partial(_check, arch, model),
            )


def _pair(model: LanguageModel, dtype: Precision, settings: Settings, length: int) -> Pair:
    """One more token a call; the graph is captured before."""
    calls, tokens = [], draw_tokens(model, settings.batch, length + 1)
    for replays in (True, False):
        decoder = Decoder(model)
        read_context(decoder, tokens[:, :-1], dtype, settings.device)
        read = _static(model, decoder, length, length + ROOM) if replays else decoder.read
        calls.append(inference(partial(read, tokens[:, -1:]), dtype, settings.device))
    for _ in range(captured.WARM_UP + 1):
        calls[0]()
    return Pair(*calls, tokens=settings.batch, facts={"preset": settings.preset})


@torch.no_grad()
def _check(name: str, model: LanguageModel) -> None:
    """Replayed steps must give the logits of the ordinary ones, in float32."""
    length = sum(SMALL_CONTEXT)
    tokens = draw_tokens(model, 1, length + CHECKED)
    plain, other = Decoder(model), Decoder(model)
    for decoder in (plain, other):
        decoder.read(tokens[:, :length])
    replayed = _static(model, other, length, length + CHECKED)
    for token in tokens[:, length:].split(1, 1):
        actual, expected = {"logits": replayed(token)}, {"logits": plain.read(token)}
        require_parity(f"{name} (replayed)", actual, expected, DECODING_TOLERANCE)


def _static(model: LanguageModel, decoder: Decoder, length: int, limit: int) -> StaticDecoder:
    """What goes on from a decoder that has read so many tokens, up to `limit` of them."""
    assert decoder.state is not None
    return StaticDecoder(model, decoder.state, length, limit)
