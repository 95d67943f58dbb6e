"""Two configurations with the same weights: one in disguise, or really two."""

from typing import Any

import torch
from builders import build, draw_tokens
from torch import Tensor

from tmt.model.base import LanguageModel

LENGTH = 40


def twin(architecture: str, weights: LanguageModel | None = None, **overrides: Any) -> LanguageModel:
    """A small model, with the weights of another one that has the same."""
    model = build(architecture, **overrides)
    if weights is not None:
        model.load_state_dict(weights.state_dict(), strict=False)
    return model


@torch.no_grad()
def logits(model: LanguageModel, length: int = LENGTH) -> Tensor:
    """Of two rows."""
    return model(draw_tokens(2, length)).logits


def assert_one(a: Tensor, b: Tensor, close: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=close)


def assert_two(a: Tensor, b: Tensor) -> None:
    assert (a - b).abs().max() > 1e-3
