"""The peak is that of the bytes alive at once, whoever allocates them through torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.bench.memory import peak_bytes

CPU = torch.device("cpu")
MEGA = 1_000_000


def bytes_of(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8)


def one_after_another() -> Tensor:
    first, second = bytes_of(3 * MEGA), bytes_of(2 * MEGA)
    del first
    third = bytes_of(4 * MEGA)
    del second
    return third


def test_only_what_is_alive_at_once_adds_up():
    assert peak_bytes(one_after_another, CPU) == 6 * MEGA


def test_what_was_there_before_does_not_count():
    before = bytes_of(5 * MEGA)
    assert peak_bytes(lambda: before[:10].clone(), CPU) == 10


def test_nothing_allocated_is_nothing():
    assert peak_bytes(lambda: None, CPU) == 0


def test_scratch_inside_an_operator_counts():
    q = torch.randn(1, 2, 300, 16)
    output = q.numel() * 4
    assert peak_bytes(lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True), CPU) > output


def test_the_backward_pass_counts():
    x = torch.randn(MEGA // 4, requires_grad=True)
    assert peak_bytes(lambda: torch.autograd.grad((x * x).sum(), x), CPU) >= 2 * MEGA


@pytest.mark.parametrize("states", [1, 3])
def test_a_state_that_is_replaced_counts_only_while_both_live(states: int):
    kept = [bytes_of(MEGA) for _ in range(states)]

    def step() -> None:
        for index in range(states):
            kept[index] = bytes_of(MEGA)

    assert peak_bytes(step, CPU) == MEGA
