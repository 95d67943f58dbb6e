"""Relative positions: a text means the same wherever it stands (specs: TMT §7)."""

from typing import Any

import pytest
import torch
from builders import build, draw_tokens
from torch import Tensor

from tmt.model.base import LanguageModel
from tmt.model.config import TMTConfig

OFFSETS = (1000, 4000)
TOLERANCE = 1e-4
BOUNDED: dict[str, Any] = dict(
    max_seq_len=4200, n_layers=3, local_window=4, exit_objective="none", dtype=torch.float32
)
"""Three layers whose windows and graphs reach a few tokens back."""


@torch.no_grad()
def suffix_logits(model: LanguageModel, offset: int) -> Tensor:
    """Logits (16, V) of one suffix behind what its receptive field covers and `offset` other tokens."""
    covered, before = draw_tokens(1, 112), draw_tokens(1, offset, seed=2)
    return model(torch.cat([before, covered], 1)).logits[0, -16:]


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("decay", ["none", "distance", "data"])
@pytest.mark.parametrize(
    "graph",
    [dict(graph="none"), dict(graph="recent"), dict(exact_until=0, k_global=0, graph_block=8)],
    ids=["window", "recent", "blocks"],
)
def test_a_suffix_means_the_same_behind_any_text(graph: dict[str, Any], decay: str, offset: int):
    model = build(**BOUNDED, **graph, decay=decay)
    torch.testing.assert_close(suffix_logits(model, offset), suffix_logits(model, 0), rtol=0, atol=TOLERANCE)


@pytest.mark.shows("TMTConfig", "anchor_query")
def test_anchors_that_rotated_queries_score_weigh_otherwise_elsewhere():
    model = build(**BOUNDED, graph="none", anchor_query="rotated")
    moved = [(suffix_logits(model, offset) - suffix_logits(model, 0)).abs().max() for offset in OFFSETS]
    assert min(moved) > 100 * TOLERANCE


BEFORE = {
    "none": [0.39395553119102217, -1.8085711744409148, -1.5443615643153872],
    "distance": [1.5538996854398122, -0.6991678017093609, -0.3125587714536323],
    "data": [2.4055135578533027, -0.6161687385850237, -0.14208017484539118],
}
"""First logits of the last token, as models gave them when every query was rotated."""


@torch.no_grad()
@pytest.mark.parametrize("decay", BEFORE)
def test_rotated_queries_give_what_they_gave(decay: str):
    model = build(decay=decay, **TMTConfig.ABSENT)
    logits = model(draw_tokens(2, 40)).logits[1, -1, :3]
    torch.testing.assert_close(logits, torch.tensor(BEFORE[decay], dtype=torch.float64), rtol=0, atol=1e-6)
