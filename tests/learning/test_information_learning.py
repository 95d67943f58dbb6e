"""A decoder reads back what a state plainly says."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.model import build_model
from tmt.tasks.information import Decoder, decoder_objective, retention
from tmt.tasks.learn import Plan, fit
from tmt.tasks.models import configure

VOCAB, LENGTH, WIDTH = 8, 8, 128

pytestmark = [pytest.mark.learning, pytest.mark.slow]


def one_hot_codes(tokens: Tensor) -> Tensor:
    """(B, n) to (B, d) of RMS 1: the tokens' codes side by side, in the half that the first input sees."""
    codes = F.one_hot(tokens, VOCAB).flatten(1) * (WIDTH / LENGTH) ** 0.5
    return F.pad(codes, (0, WIDTH - codes.shape[1]))


@pytest.mark.parametrize("arch", ["transformer", "toeplitz"])
def test_one_hot_codes_are_decoded(arch: str):
    torch.manual_seed(0)
    config = configure(arch, None, {}, vocab_size=VOCAB, length=LENGTH, d_model=WIDTH)
    decoder = Decoder(build_model(arch, config)).train()
    plan = Plan(steps=600, batch_size=64, lr=1e-3, seed=0, device=torch.device("cpu"))
    source = plan.generator("train")

    def draw(count: int = plan.batch_size) -> Tensor:
        return torch.randint(VOCAB, (count, LENGTH), generator=source)

    fit(decoder, decoder_objective(one_hot_codes, decoder, draw, LENGTH), plan, arch)
    assert retention(one_hot_codes, decoder.eval(), draw(512), LENGTH)["accuracy"] >= 0.99
