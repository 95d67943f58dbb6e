"""The models run under torch.compile, forward and backward, with the numbers of eager mode.

The transformer and TMT, whose graph takes longest to trace: training/test_compiled_training.
"""

from typing import Any

import pytest
import torch
from builders import build, draw_tokens
from torch import Tensor

FEW_LAYERS: dict[str, dict[str, Any]] = {
    "toeplitz": dict(n_layers=1),
    "golf": dict(n_layers=2, loop_start=0, loop_end=0, loop_passes=2, parallel_from=1),
}


@pytest.mark.parametrize("name", FEW_LAYERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_model_equals_itself(name: str):
    model, tokens = build(name, dtype=torch.float32, **FEW_LAYERS[name]), draw_tokens(2, 20)

    def run(call) -> list[Tensor]:
        model.zero_grad()
        loss = call(tokens, targets=draw_tokens(2, 20, seed=4)).loss
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    expected = run(model)
    actual = run(torch.compile(model, backend="aot_eager"))
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
