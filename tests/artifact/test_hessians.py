import pytest
import torch
from packable import VARIANTS, batches, packable
from torch import nn

from tmt.artifact.hessians import calibrate, head_weight, mean_loss


def test_the_moments_are_those_of_the_inputs():
    model = packable("transformer")
    seen, normed = [], []
    model.blocks[1].ffn.output.register_forward_pre_hook(lambda module, x: seen.append(x[0]))
    model.norm.register_forward_hook(lambda module, x, y: normed.append(y))
    found = calibrate(model, batches())
    for name, inputs in (("blocks.1.ffn.output.weight", seen), ("embedding.weight", normed)):
        rows = torch.cat(inputs)
        assert len(rows) == found.tokens == 256
        torch.testing.assert_close(found.hessians[name], rows.T @ rows, rtol=1e-4, atol=1e-4)


def test_layers_that_read_the_same_share_it():
    found = calibrate(packable("transformer"), batches()).hessians
    q, k, v, o = (found[f"blocks.0.attention.{name}.weight"] for name in ("query", "key", "value", "output"))
    assert torch.equal(q, k)
    assert torch.equal(q, v)
    assert not torch.equal(q, o)


def test_what_runs_several_times_adds_up():
    model = packable("golf")
    counts = dict.fromkeys(range(5), 0)
    for layer, block in enumerate(model.blocks):
        block.mlp.output.register_forward_pre_hook(
            lambda module, x, layer=layer: counts.__setitem__(layer, counts[layer] + len(x[0]))
        )
    found = calibrate(model, batches())
    looped, once = model.config.first_looped, 0
    assert counts[looped] == 3 * counts[once] == 3 * found.tokens
    assert found.hessians["embedding.weight"].shape == (16, 16)


def test_a_head_s_input_is_what_the_norm_gives_out_last():
    model = packable("golf")
    normed = []
    model.norm.register_forward_hook(lambda module, x, y: normed.append(y))
    found = calibrate(model, batches(1))
    assert len(normed) == 2
    torch.testing.assert_close(found.hessians["embedding.weight"], normed[1].T @ normed[1])


def test_tokens_that_left_early_do_not_count():
    model = packable("plain")
    rows = {0: 0, 1: 0, 2: 0, 3: 0}
    for layer, block in enumerate(model.blocks):
        block.ffn.syntax.register_forward_pre_hook(
            lambda module, x, layer=layer: rows.__setitem__(layer, rows[layer] + len(x[0]))
        )
    found = calibrate(model, batches())
    assert rows[2] < rows[0] == rows[3] == found.tokens
    hessian = found.hessians["blocks.2.ffn.syntax.weight"]
    trace = float(hessian.diagonal().sum()) / rows[2]
    assert trace > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_linear_layer_is_seen_and_nothing_is_left_behind(variant: str):
    model = packable(variant)
    expected = mean_loss(model, batches())
    found = calibrate(model, batches())
    names = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert names - {"head.weight"} | {head_weight(model)} == set(found.hessians)
    assert found.nats == expected
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
