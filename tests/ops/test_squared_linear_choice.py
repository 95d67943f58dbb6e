"""Which path the squared MLP takes: by device, capability, shape and clock."""

import importlib.util
import logging

import pytest
import torch

from tmt.layers.squared_mlp import SquaredMLP
from tmt.model.golf import Golf
from tmt.model.golf_config import GolfConfig
from tmt.ops.squared_mlp import choice, squared_linear_impl

ROWS = choice.LEAST_PRODUCTS // 64


def drawn(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(ROWS, 8, dtype=dtype), torch.randn(64, 8, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_units_and_slopes_on_the_cpu(dtype: torch.dtype):
    assert squared_linear_impl(*drawn(dtype), 0.5) == "torch"


def test_the_readable_path_where_nothing_is_won():
    x, weight = drawn()
    assert squared_linear_impl(x[:-1], weight, 0.5) == "reference"
    assert squared_linear_impl(x, weight.detach(), 0.5) == "reference"
    assert squared_linear_impl(*drawn(torch.float64), 0.5) == "reference"
    with torch.no_grad():
        assert squared_linear_impl(x, weight, 0.5) == "reference"


def test_the_layer_calls_its_modules_where_it_takes_the_readable_path():
    """Hooks on both layers hear of every row, and few rows keep their own product."""
    mlp, heard = SquaredMLP(8, 64, 0.5), []
    mlp.inner.register_forward_hook(lambda *_: heard.append("inner"))
    mlp.output.register_forward_hook(lambda *_: heard.append("output"))
    with torch.no_grad():
        plain = mlp(torch.ones(ROWS, 8))
    assert heard == ["inner", "output"]
    trained = mlp(torch.ones(ROWS, 8))
    assert heard == ["inner", "output", "output"]
    torch.testing.assert_close(trained, plain)


@torch.no_grad()
def test_a_model_says_what_it_trains_with():
    sizes = GolfConfig.PRESETS["nano"] | dict(vocab_size=50, n_layers=2, parallel="none", loop_passes=1)
    assert Golf(GolfConfig(**sizes)).ops()["squared_mlp"] == "torch at 2048"
    assert Golf(GolfConfig(**sizes | dict(max_seq_len=64))).ops()["squared_mlp"] == "reference at 64"


def test_the_choice_is_logged_once(caplog: pytest.LogCaptureFixture):
    choice._report.cache_clear()
    with caplog.at_level(logging.INFO, logger=choice.__name__):
        paths = {squared_linear_impl(*drawn(), 0.5) for _ in range(2)}
    assert caplog.messages == [f"squared MLP in torch.float32 on the CPU: {paths.pop()} path"]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict:
    """A GPU with Triton, as much as the choice asks of one."""
    facts = {"capability": (9, 0), "modules": {"triton", "triton.tools.tensor_descriptor"}}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: facts["capability"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in facts["modules"] else None)
    return facts


def test_a_gpu_falls_back_by_capability_and_by_what_is_installed(gpu: dict):
    x, weight = drawn(torch.bfloat16)
    assert choice.candidates(x, weight) == ["tma", "triton", "torch", "reference"]
    gpu["capability"] = (8, 9)
    assert choice.candidates(x, weight) == ["triton", "torch", "reference"]
    gpu.update(capability=(10, 0), modules={"triton"})
    assert choice.candidates(x, weight) == ["triton", "torch", "reference"]
    gpu["modules"] = set()
    assert choice.candidates(x, weight) == ["torch", "reference"]


def test_descriptors_take_half_precision_and_whole_rows(gpu: dict):
    assert "tma" not in choice.candidates(*drawn())
    for width, hidden in ((12, 64), (8, 60)):
        x, weight = torch.zeros(9, width).bfloat16(), torch.zeros(hidden, width).bfloat16()
        assert choice.candidates(x, weight) == ["triton", "torch", "reference"]


@pytest.mark.parametrize(
    ("seconds", "fastest"),
    [
        ({"tma": 1.0, "triton": 2.0, "torch": 3.0, "reference": 4.0}, "tma"),
        ({"tma": 2.0, "triton": 1.0, "torch": 3.0, "reference": 4.0}, "triton"),
        ({"triton": 3.0, "torch": 1.0, "reference": 4.0}, "torch"),
        ({"reference": 4.0}, "reference"),
        ({}, "reference"),
    ],
)
def test_the_fastest_that_runs_is_taken_and_measured_once(
    seconds: dict[str, float], fastest: str, gpu: dict, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    asked = []

    def clock(name: str, x: torch.Tensor, weight: torch.Tensor, slope: float) -> float:
        asked.append((name, x.dtype))
        if name not in seconds:
            raise RuntimeError("out of resource: shared memory")
        return seconds[name]

    monkeypatch.setattr(choice, "_fastest", {})
    monkeypatch.setattr(choice, "_seconds", clock)
    x, weight = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        assert choice._measured(x, weight, 0.5) == fastest
        assert choice._measured(x[:-1], weight, 0.5) == fastest
    assert asked == [(name, torch.bfloat16) for name in ("tma", "triton", "torch", "reference")]
    left_out = [message.split()[3] for message in caplog.messages if "out of resource" in message]
    assert left_out == [name for name in ("tma", "triton", "torch", "reference") if name not in seconds]


def test_the_clock_runs_forward_and_backward(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: None)
    x, weight = drawn()
    assert choice._seconds("torch", x, weight.detach(), 0.5) > 0
    assert choice._fastest_of(["torch", "reference"], x, weight.detach(), 0.5) in ("torch", "reference")
