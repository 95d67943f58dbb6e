"""Two models on the same text: how far their predictions are apart."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.errors import InputError
from tmt.model.base import LanguageModel


@dataclass(frozen=True)
class Comparison:
    """Means over the tokens that were compared."""

    tokens: int
    kl: float
    """``KL(first ‖ second)`` of the next token's distribution, nats."""
    agreement: float
    """Share of tokens whose likeliest successor is the same."""
    nats_first: float
    nats_second: float


@torch.inference_mode()
def compare(first: LanguageModel, second: LanguageModel, tokens: Tensor, context: int) -> Comparison:
    """Compare next-token predictions on windows of `context` tokens side by side.

    Args:
        first: the model that is held to be right, in eval mode.
        second: the other one, in eval mode.
        tokens: (n,) int64, n > context.
        context: inputs per window.
    """
    windows = (len(tokens) - 1) // context
    if windows < 1:
        raise InputError(f"{len(tokens)} tokens are too few to compare models on windows of {context}")
    totals = torch.zeros(4, dtype=torch.float64)
    for window in range(windows):
        part = tokens[window * context : (window + 1) * context + 1]
        p, q = (F.log_softmax(model(part[None, :-1]).logits[0].double(), -1) for model in (first, second))
        same = (p.argmax(-1) == q.argmax(-1)).sum()
        nats = (-x.gather(1, part[1:, None]).sum() for x in (p, q))
        totals += torch.stack([(p.exp() * (p - q)).sum(), same.double(), *nats]).cpu()
    kl, agreement, nats_first, nats_second = (totals / (windows * context)).tolist()
    return Comparison(windows * context, kl, agreement, nats_first, nats_second)
