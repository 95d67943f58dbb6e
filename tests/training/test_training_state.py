"""The training state in its file: whatever goes in comes out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from tmt.errors import InputError
from tmt.training.state import load_state, save_state

DTYPES = [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.booleans()
KEYS = st.integers() | st.text(max_size=5) | st.sampled_from(["tensor:", "items:", "a.b", ""])


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    return (
        torch.arange(draw(st.integers(0, 9)), 50)[: torch.Size(shape).numel()]
        .view(shape)
        .to(draw(st.sampled_from(DTYPES)))
    )


STATES = st.recursive(
    tensors() | NUMBERS | st.text(max_size=5) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def assert_same(actual: Any, expected: Any) -> None:
    assert type(actual) is type(expected)
    if isinstance(expected, Tensor):
        assert actual.dtype == expected.dtype
        assert actual.shape == expected.shape
        assert torch.equal(actual, expected)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key, value in expected.items():
            assert_same(actual[key], value)
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e)
    else:
        assert actual == expected


@given(st.dictionaries(st.text(max_size=5), STATES, max_size=3))
def test_nested_structures_come_back(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]):
    path = tmp_path_factory.getbasetemp() / "states" / "state"
    save_state(path, state)
    assert_same(load_state(path), state)


def test_infinity_and_views_come_back(tmp_path: Path):
    base = torch.arange(12.0).view(3, 4)
    state = {"best": float("inf"), "views": [base.T, base[1], base[:, ::2]], "same": [base, base]}
    save_state(tmp_path / "state", state)
    assert_same(load_state(tmp_path / "state"), state)


def test_optimiser_states_come_back(tmp_path: Path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    save_state(tmp_path / "state", {"optimizer": optimizer.state_dict()})
    restored = load_state(tmp_path / "state")["optimizer"]
    assert list(restored["state"]) == [0]
    torch.optim.AdamW([weight]).load_state_dict(restored)
    assert torch.equal(restored["state"][0]["exp_avg"], optimizer.state[weight]["exp_avg"])


def test_files_that_hold_no_state(tmp_path: Path):
    with pytest.raises(InputError, match="cannot read"):
        load_state(tmp_path / "missing")
    save_file({"weight": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(InputError, match="holds no training state"):
        load_state(tmp_path / "other")
