"""What is wrong is not timed."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tiny_models import tiny
from tmt.bench import OPS
from tmt.bench.decode import check_decoding
from tmt.bench.measure import measure
from tmt.bench.mesh import MESH
from tmt.bench.op import Op, Parts
from tmt.bench.parity import relative_error, require_parity
from tmt.bench.series import Settings
from tmt.errors import InputError

CPU = torch.device("cpu")
SETTINGS = Settings(
    lengths=(8,), dtypes=("fp32",), batch=1, arch=None, preset="", only="", seconds=0.0, device=CPU
)


def scaled(parts: Parts) -> Tensor:
    return MESH.ours_small(parts) * 1.001


def doubled_gradient(parts: Parts) -> Tensor:
    output = MESH.ours_small(parts)
    return output.detach() + 2 * (output - output.detach())


@pytest.mark.parametrize("direction", ["forward", "forward_backward"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_passes(op: Op, dtype, direction):
    op.check(direction, dtype, CPU)


def test_a_wrong_op_is_refused_before_the_clock_starts():
    def never(parts: Parts) -> Tensor:
        raise AssertionError("timed")

    forward, _ = replace(MESH, ours=never, ours_small=scaled).series(SETTINGS)
    with pytest.raises(InputError, match=rf"mesh_attention \({forward.impl}, fp32.* output .*1\.0e-03"):
        list(measure(forward, SETTINGS))


def test_a_wrong_gradient_is_refused_only_where_it_is_timed():
    wrong = replace(MESH, ours_small=doubled_gradient)
    wrong.check("forward", "fp32", CPU)
    with pytest.raises(InputError, match=r"gradient of \w+ differs from the reference by 1\.0e\+00"):
        wrong.check("forward_backward", "fp32", CPU)


def test_not_a_number_is_no_parity():
    one = {"output": torch.ones(2)}
    with pytest.raises(InputError, match="nan"):
        require_parity("an op", {"output": torch.tensor([1.0, torch.nan])}, one, 1e-5)


def test_the_error_is_relative():
    assert relative_error(torch.tensor([303.0, 404.0]), torch.tensor([300.0, 400.0])) == pytest.approx(0.01)
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0


def test_a_model_that_decodes_otherwise_than_it_reads_is_refused(monkeypatch: pytest.MonkeyPatch):
    model = tiny("no exits")
    check_decoding("tmt", model)
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda tokens, state=None, **how: forward(tokens, **how))
    with pytest.raises(InputError, match=r"tmt \(cached\) is not timed: its logits"):
        check_decoding("tmt", model)
