"""The dual-stream layer and the local mix that feeds it."""

import torch

from tmt.layers.feed_forward import DualStreamFFN, LocalMix, SwiGLU


def test_the_gate_mixes_the_two_streams():
    ffn = DualStreamFFN(8, 12).double()
    syntax, semantics = torch.randn(2, 20, 8, dtype=torch.float64)
    output, gate = ffn(syntax, semantics)
    assert gate.shape == (20,)
    assert ((gate > 0) & (gate < 1)).all()
    first = ffn.syntax_output(torch.nn.functional.gelu(ffn.syntax(syntax)))
    second = ffn.semantics_output(torch.nn.functional.gelu(ffn.semantics(semantics)))
    torch.testing.assert_close(output, gate[:, None] * first + (1 - gate[:, None]) * second)


def test_the_gate_can_choose_either_stream_alone():
    ffn, (syntax, semantics) = DualStreamFFN(8, 12), torch.randn(2, 20, 8)
    with torch.no_grad():
        ffn.gate.bias.fill_(100.0)
        only_syntax, gate = ffn(syntax, semantics)
        assert (gate == 1).all()
        torch.testing.assert_close(ffn(syntax, 0 * semantics)[0], only_syntax)
        ffn.gate.bias.fill_(-100.0)
        only_semantics, gate = ffn(syntax, semantics)
        torch.testing.assert_close(ffn(0 * syntax, semantics)[0], only_semantics)


def test_flops_are_two_a_weight():
    for ffn in (SwiGLU(8, 12), DualStreamFFN(8, 12)):
        weights = sum(p.numel() for p in ffn.parameters() if p.dim() > 1)
        assert ffn.flops(5) == 2 * 5 * weights


def test_two_streams_cost_what_the_swiglu_in_their_place_costs():
    for width, hidden in ((192, 384), (512, 256), (768, 1536), (1024, 2048)):
        streams, swiglu = DualStreamFFN(width, hidden), SwiGLU(width, hidden * 4 // 3)
        assert abs(streams.flops(1) / swiglu.flops(1) - 1) < 0.01


def test_the_local_mix_starts_as_the_identity():
    for width in (6, 32):
        mix, x, tail = LocalMix(width), torch.randn(2, 9, width), torch.randn(2, 3, width)
        assert torch.equal(mix(x, tail), x.flatten(0, 1))


def test_the_local_mix_reads_three_tokens_back_and_none_ahead():
    mix, x = LocalMix(6).double(), torch.randn(1, 3 + 9, 6, dtype=torch.float64, requires_grad=True)
    torch.nn.init.normal_(mix.weight)
    output = mix(x[:, 3:], x[:, :3])
    for t in (0, 4, 8):
        (gradient,) = torch.autograd.grad(output[t].sum(), x, retain_graph=True)
        reached = gradient[0].abs().sum(-1).nonzero()[:, 0].tolist()
        assert reached == [t, t + 1, t + 2, t + 3]
        torch.testing.assert_close(gradient[0, t + 3], mix.weight[0])
        torch.testing.assert_close(gradient[0, t], mix.weight[3])
