"""The models run under torch.compile, forward and backward, with the numbers of eager mode."""

import pytest
import torch
from builders import draw_tokens, switched
from torch import Tensor


@pytest.mark.parametrize("name", ["transformer", "tmt", "toeplitz-heads", "toeplitz-fft", "golf-record"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_model_equals_itself(name: str):
    model, tokens = switched(name, dtype=torch.float32), draw_tokens(2, 20)

    def run(call) -> list[Tensor]:
        model.zero_grad()
        loss = call(tokens, targets=draw_tokens(2, 20, seed=4)).loss
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    expected = run(model)
    actual = run(torch.compile(model, backend="aot_eager"))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
