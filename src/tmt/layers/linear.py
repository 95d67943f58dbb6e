"""Linear layers that read their weights at the speed of memory when they decode."""

import torch
from torch import Tensor, nn

from tmt.ops import linear


class Linear(nn.Linear):
    """`torch.nn.Linear` with a faster way for few rows on the CPU without gradients."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, K) to (…, M)."""
        if linear.available(input, self.weight):
            return linear.few_rows(input, self.weight, self.bias)
        return super().forward(input)

    def of(self, op: linear.Op, *inputs: Tensor) -> Tensor:
        """The rows (n, M) of the value (n, K) of `op`, which training does not keep; without a bias."""
        trains = torch.is_grad_enabled() and any(x.requires_grad for x in (self.weight, *inputs))
        return linear.of_op(op, inputs, self.weight) if trains else self(op.value(*inputs))
