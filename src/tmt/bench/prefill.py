"""Whole forward passes over long sequences, and what tokens that leave early save of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from tmt.bench.decode import check_decoding
from tmt.bench.models import DEPTH, build, draw_tokens, has_exits, inference, matches
from tmt.bench.series import Pair, Precision, Series, Settings
from tmt.layers.cache import Cache
from tmt.model.base import LanguageModel
from tmt.model.model import TMTModel

Forward = Callable[[LanguageModel, Tensor], Any]
Models = tuple[LanguageModel, LanguageModel]
"""Ours and the peer."""


def series(settings: Settings) -> Iterator[Series]:
    """Every match with exits off; then exits against their absence, without the head and with it."""
    for match in matches(settings):
        ours, peer = (build(arch, settings) for arch in (match.arch, match.peer))
        for dtype in settings.dtypes:
            plain = Series(
                name=match.arch,
                impl=match.impl(dtype, settings.device),
                peer=match.peer,
                direction="forward",
                dtype=dtype,
                at=partial(_pair, last_logits, (ours, peer), dtype, settings),
                check=partial(check_decoding, match.arch, ours),
            )
            yield plain
            if not has_exits(match.arch):
                continue
            early = build(match.arch, settings, depth=DEPTH)
            for part, forward in (("blocks", blocks), ("whole", all_logits)):
                at = partial(_depth_pair, forward, (early, ours), dtype, settings)
                name = f"{match.arch} at depth {DEPTH:g}, {part}"
                yield replace(plain, name=name, peer=f"{match.arch}, exits off", at=at)


def last_logits(model: LanguageModel, tokens: Tensor) -> Any:
    """What reading a prompt takes."""
    return model(tokens, last_only=True, return_diagnostics=False)


def all_logits(model: LanguageModel, tokens: Tensor) -> Any:
    """What scoring a text takes, the head for every token included."""
    return model(tokens, return_diagnostics=False)


def blocks(model: LanguageModel, tokens: Tensor) -> Any:
    """All but the last norm and the head."""
    return model.trunk(tokens, Cache(tokens, None, None, keep=False), diagnose=False, last_only=False)


@torch.no_grad()
def calibrate(model: TMTModel, tokens: Tensor) -> None:
    """Set the gates' thresholds to those that part the tokens at the configured depth."""
    model.train()
    statistics = last_logits(model, tokens).statistics
    model.eval()
    for layer, gate in model.gates.items():
        total, count = statistics[f"exit.{layer}"]
        gate.threshold.fill_(total / count)


def _pair(forward: Forward, models: Models, dtype: Precision, settings: Settings, length: int) -> Pair:
    tokens = draw_tokens(models[0], settings.batch, length)
    calls = (inference(partial(forward, model, tokens), dtype, settings.device) for model in models)
    return Pair(*calls, tokens=tokens.numel(), facts={"preset": settings.preset})


def _depth_pair(forward: Forward, models: Models, dtype: Precision, settings: Settings, length: int) -> Pair:
    early = models[0]
    tokens = draw_tokens(early, settings.batch, length)
    inference(partial(calibrate, cast("TMTModel", early), tokens), dtype, settings.device)()
    layers = inference(partial(last_logits, early, tokens), dtype, settings.device)().layer_tokens
    pair = _pair(forward, models, dtype, settings, length)
    pair.facts["mean_depth"] = sum(layers) / len(layers) / tokens.numel()
    return pair
