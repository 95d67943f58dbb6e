"""Temporal decay: shapes, half-lives, cumulative gates, and what may be pruned."""

import math

import torch

from tmt.layers.attention import HeadProjections
from tmt.layers.cache import Cache
from tmt.layers.decay import ChannelDecay, DistanceDecay, ForgetGate, head_rates
from tmt.layers.graph import Graph
from tmt.layers.mesh_attention import MeshAttention
from tmt.layers.rows import Rows
from tmt.ops.mesh import GraphSpec, MeshInputs, mesh_attention


def delta(rates: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """(H, distances): what mesh attention multiplies its weights by, read off one-hot values."""
    position, heads = int(distance.max()), len(rates)
    inputs = MeshInputs(
        q=torch.zeros(1, 1, heads, 2, dtype=torch.float64),
        k=torch.zeros(1, position + 1, heads, 2, dtype=torch.float64),
        v=torch.eye(position + 1, dtype=torch.float64)[None, :, None].expand(-1, -1, heads, -1),
        positions=torch.tensor([[position]]),
        window=position + 1,
        decay_rate=rates,
    )
    weights = mesh_attention(inputs)[0][0, 0] * (position + 1)
    return weights[:, position - distance]


def test_distance_decay_starts_at_one_and_falls():
    decay = DistanceDecay(4, 0.5).double()
    factor = delta(decay.rates().detach(), torch.arange(40))
    torch.testing.assert_close(factor[:, 0], torch.ones(4, dtype=torch.float64))
    assert (factor[:, 1:] < factor[:, :-1]).all()
    assert (factor > 0).all()


def test_distance_decay_does_not_depend_on_the_length():
    rates, distance = DistanceDecay(3, 0.2).double().rates().detach(), torch.arange(10)
    longer = delta(rates, torch.cat([distance, torch.tensor([90])]))[:, :10]
    torch.testing.assert_close(longer, delta(rates, distance))


def test_half_lives_of_distance_decay():
    decay = DistanceDecay(4, math.log(3) / 8)
    half_lives = decay.half_lives()
    torch.testing.assert_close(2 * torch.sigmoid(-decay.rates() * half_lives), torch.full((4,), 0.5))
    torch.testing.assert_close(half_lives[:3], torch.tensor([8.0, 16.0, 32.0]), rtol=1e-4, atol=0)
    assert half_lives[3] > 1e4


def test_rates_stay_positive_wherever_training_takes_them():
    decay = DistanceDecay(3, 0.1)
    with torch.no_grad():
        decay.weight.copy_(torch.tensor([-50.0, 0.0, 50.0]))
    assert (decay.rates() >= 0).all()


def test_a_single_head_does_not_decay_and_no_rate_rises():
    assert head_rates(1, 0.5).tolist() == [torch.tensor(1e-5).item()]
    rates = head_rates(30, 0.1)
    assert (rates[1:] <= rates[:-1]).all()


def test_forget_gates_start_content_free():
    gate = ForgetGate(6, 3, 0.2)
    gate.initialise()
    expected = -head_rates(3, 0.2).expand(5, -1)
    torch.testing.assert_close(gate(torch.randn(5, 6)), expected, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(gate.half_lives()[:2], math.log(2) / head_rates(3, 0.2)[:2], rtol=1e-3, atol=0)


@torch.no_grad()
def test_data_decay_is_the_sum_of_the_gates_between():
    attention = MeshAttention(
        8, 2, 1e-5, Graph(GraphSpec("none", window=40)), builds_graph=False, routing_dim=0,
        similarity="cosine", decay="data", decay_rate=0.5, streams_memory=False, anchor_query="unrotated",
    ).double()  # fmt: skip
    x, length = torch.randn(2 * 9, 8, dtype=torch.float64), 9
    rows, state, pieces = Rows(torch.arange(9).repeat(2, 1)), None, []
    cache = Cache(torch.zeros(2, 9, dtype=torch.long), None, None, keep=False)
    rotation = attention.heads.rotation(rows.positions)
    inputs = attention(x, rows, (x, rows), None, rotation, cache, None).inputs
    gates = attention.forget(x).view(2, length, 2)
    assert (gates < 0).all()
    for i in range(length):
        for j in range(i + 1):
            bias = inputs.forget.q[:, i] - inputs.forget.k[:, j]
            torch.testing.assert_close(bias, gates[:, j + 1 : i + 1].sum(1))
    for piece in x.view(2, length, 8).split(4, 1):
        cache = Cache(torch.zeros(piece.shape[:2], dtype=torch.long), state, None, keep=True)
        rows = Rows(cache.positions)
        flat = piece.flatten(0, 1)
        rotation = attention.heads.rotation(rows.positions)
        pieces.append(attention(flat, rows, (flat, rows), None, rotation, cache, None).inputs.forget.q)
        state = cache.state()
    torch.testing.assert_close(torch.cat(pieces, 1), inputs.forget.q)


def test_channel_decay_reads_the_position_alone():
    decay = ChannelDecay(5, horizon=16)
    with torch.no_grad():
        decay.weight.copy_(torch.linspace(-3, 3, 5))
    scale = decay(torch.arange(30))
    torch.testing.assert_close(scale[0], torch.ones(5))
    assert (scale[1:] < scale[:-1]).all()
    assert (scale > 0).all()
    torch.testing.assert_close(decay(torch.tensor([7, 7, 2])), scale[[7, 7, 2]])


def test_rotary_scores_depend_on_the_distance_alone():
    heads = HeadProjections(16, 2, 1e-5).double()
    x = torch.randn(1, 16, dtype=torch.float64).expand(6, -1)
    at = lambda first: heads.rotation(torch.arange(6) + first)
    q, k = heads.queries(x, at(0)), heads.keys(x, at(3))
    scores = (q * k).sum(-1)
    torch.testing.assert_close(scores, scores[:1].expand(6, -1), rtol=1e-5, atol=1e-5)
    assert (scores - (q * heads.keys(x, at(4))).sum(-1)).abs().max() > 1e-3
    still = heads.rotation(torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(heads.queries(x, still), heads.queries(x, None))
