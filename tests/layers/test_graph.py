"""A graph of one's own in the mesh: used as it is where it holds, refused in one line where it does not."""

import math

import pytest
import torch
from torch import Tensor

from tmt import InputError, TMTConfig, TMTModel
from tmt.layers.graph import Graph
from tmt.ops.mesh import GraphSpec
from tmt.verify import check, subject_of

SIZES = dict(
    vocab_size=50, max_seq_len=64, d_model=16, n_heads=2, n_layers=3, ffn_stream_dim=12, graph_k=3,
    local_window=4, routing_dim=8, target_depth=0.7, entry_layers=1, memory_anchors=0, dropout=0.0,
)  # fmt: skip


class Recent(Graph):
    """What `graph=recent` is, written anew."""

    def choose(self, routing_q: Tensor, routing_k: Tensor, positions: Tensor, spec: GraphSpec) -> Tensor:
        chosen = (positions - spec.window)[..., None] - torch.arange(spec.width)
        return chosen.where(chosen >= 0, -1)


class RecentMesh(TMTModel):
    graph = Recent


class Bad(Graph):
    """Chooses what it is told to for the last query, and nothing for the others."""

    wrong: Tensor

    def choose(self, routing_q: Tensor, routing_k: Tensor, positions: Tensor, spec: GraphSpec) -> Tensor:
        chosen = torch.full_like(self.wrong, -1).repeat(*positions.shape, 1)
        chosen[:, -1] = self.wrong
        return chosen


class BadMesh(TMTModel):
    graph = Bad


def pair(**changed: object) -> tuple[TMTModel, TMTModel]:
    """One that chooses by itself and the built-in one that it is to equal, of the same weights."""
    config = TMTConfig(**{**SIZES, "graph": "recent", "successors": False, **changed})
    own, built_in = RecentMesh(config).eval(), TMTModel(config).eval()
    built_in.load_state_dict(own.state_dict())
    return own, built_in


@pytest.mark.parametrize(
    "changed", [{}, {"decay": "none"}, {"rebuild_every": 2}, {"exited_kv": "project"}, {"decay": "distance"}]
)
def test_it_is_used_wherever_the_built_in_one_is(changed: dict):
    own, built_in = pair(**changed)
    tokens = torch.randint(50, (2, 40), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(own(tokens).logits, built_in(tokens).logits)
    other = TMTModel(TMTConfig(**{**SIZES, "graph": "none", **changed})).eval()
    other.load_state_dict(own.state_dict(), strict=False)
    assert (other(tokens).logits - own(tokens).logits).abs().max() > 1e-3
    state, steps = None, []
    with torch.no_grad():
        for piece in tokens.split([1, 7, 1, 31], 1):
            output = own(piece, state, return_state=True)
            state = output.state
            steps.append(output.logits)
        torch.testing.assert_close(torch.cat(steps, 1), own(tokens).logits)
    own.train(), built_in.train()
    losses = [model(tokens, targets=tokens).loss for model in (own, built_in)]
    torch.testing.assert_close(*losses)


def test_what_it_costs_is_not_counted_until_it_says():
    own, built_in = pair()
    tokens = torch.zeros(1, 20, dtype=torch.int64)
    assert math.isnan(own.flops(20))
    assert math.isnan(own(tokens).flops)
    assert own.ops()["build_graph"] == "Recent"
    assert not own.decodes_statically

    class Counted(Recent):
        def flops(self, positions: Tensor, width: int, weight: Tensor, window: int) -> float:
            return 0

    class CountedMesh(TMTModel):
        graph = Counted

    assert CountedMesh(own.config).flops(20) == built_in.flops(20)


class Alike(Graph):
    """The most similar token before the window; a bound that the last key moves, where it peeks."""

    peeks = False

    def choose(self, routing_q: Tensor, routing_k: Tensor, positions: Tensor, spec: GraphSpec) -> Tensor:
        products = routing_q @ routing_k.mT
        assert products.dtype == routing_q.dtype != torch.bfloat16
        nearness = torch.arange(routing_k.shape[1]) / routing_k.shape[1]
        scores = (16384 * products).round().double() + nearness
        shift = (routing_k[:, -1:, :1] > 0).long() if self.peeks else 0
        late = torch.arange(routing_k.shape[1]) > (positions - spec.window)[..., None] - shift
        best = scores.masked_fill(late, -torch.inf).max(-1, keepdim=True)
        chosen = best.indices.where(best.values > -torch.inf, -1)
        return torch.nn.functional.pad(chosen, (0, spec.width - 1), value=-1)


class AlikeMesh(TMTModel):
    graph = Alike


def test_verify_names_one_that_looks_ahead(monkeypatch: pytest.MonkeyPatch):
    model = AlikeMesh(TMTConfig(**SIZES)).eval()
    rules = ["future", "prefix", "cached"]
    assert check(subject_of(model), only=rules, length=32).passed
    monkeypatch.setattr(Alike, "peeks", True)
    assert {finding.rule for finding in check(subject_of(model), only=rules, length=32).broken} == {*rules}


def test_autocast_does_not_round_what_it_chooses_by():
    model = AlikeMesh(TMTConfig(**SIZES, edge_similarity="bilinear"))
    tokens = torch.randint(50, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        model(tokens, targets=tokens).loss.backward()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([9, -1, -1], "not before the window"),
        ([-2, -1, -1], "not before the window"),
        ([2, 0, 2], "names a token twice"),
        ([0, 1], r"torch.int64 \(1, 12, 2\), which are to be integers \(1, 12, 3\)"),
        ([0.0, 1.0, 2.0], "torch.float32"),
        ([True, False, True], "torch.bool"),
    ],
)
def test_what_are_no_neighbours_is_refused(wrong: list, said: str):
    model = BadMesh(TMTConfig(**SIZES, successors=False)).eval()
    for block in model.blocks:
        block.attention.chooser.wrong = torch.tensor(wrong)
    tokens = torch.zeros(1, 12, dtype=torch.int64)
    with pytest.raises(InputError, match=f"Bad.choose .*{said}"):
        model(tokens)
