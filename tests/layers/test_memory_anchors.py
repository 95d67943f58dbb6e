"""The memory bank: what moves it, and that it does not collapse."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers.memory_anchors import MemoryAnchors

WIDTH = 32


def attend(bank: MemoryAnchors, x: Tensor) -> Tensor:
    """(n, M) weights of tokens on the anchors, half of their attention being elsewhere."""
    scores = F.rms_norm(x, (WIDTH,)) @ bank.read(bank.count, bank.total).T
    return 0.5 * (scores * WIDTH**-0.5).softmax(-1)


def follow(bank: MemoryAnchors, steps: int, common: float, themes: int | None) -> None:
    """Updates from tokens around a common mean, of so many themes, or without any."""
    mean = common * torch.randn(WIDTH)
    centres = None if themes is None else 2 * torch.randn(themes, WIDTH)
    for _ in range(steps):
        x = mean + torch.randn(256, WIDTH)
        if centres is not None:
            x = mean + centres[torch.randint(0, themes, (256,))] + 0.3 * torch.randn(256, WIDTH)
        bank.update(*bank.collect(attend(bank, x), x))


@pytest.mark.parametrize(("common", "themes"), [(0.0, None), (1.0, None), (1.0, 20), (5.0, 8), (5.0, 20)])
def test_the_bank_does_not_collapse(common: float, themes: int | None):
    bank = MemoryAnchors(8, WIDTH, momentum=0.9)
    follow(bank, 200, common, themes)
    assert bank.effective_rank() > 4
    assert bank.usage() > 4
    assert bank.count.sum() == pytest.approx(8, rel=0.02)
    assert (bank.count > 0).all()


def test_anchors_stay_apart_even_where_the_common_mean_is_everything():
    """Tokens of cosine 0.96 to each other: the anchors still cover the little in which they differ."""
    bank = MemoryAnchors(8, WIDTH, momentum=0.9)
    follow(bank, 200, 5.0, None)
    anchors = bank.anchors()
    spread = torch.linalg.svdvals(anchors - anchors.mean(0))
    assert spread[6] > 0.3 * spread[0]
    assert torch.pdist(anchors).min() > 0.3


def test_one_mean_for_all_would_be_noticed():
    """The published update, every anchor pulled to the batch mean, has effective rank 1."""
    bank = MemoryAnchors(8, WIDTH, momentum=0.9)
    for _ in range(200):
        x = torch.randn(WIDTH) * 0.1 + torch.ones(256, WIDTH)
        bank.total.lerp_(x.mean(0), 0.1)
    assert bank.effective_rank() < 2.5


def test_an_anchor_is_the_weighted_mean_of_its_own_tokens():
    bank = MemoryAnchors(3, WIDTH, momentum=0.0)
    x = torch.randn(10, WIDTH)
    weights = torch.rand(10, 3)
    bank.update(*bank.collect(weights, x))
    chosen, normed = weights.argmax(-1), F.rms_norm(x, (WIDTH,))
    for m in range(3):
        share = (weights[:, m] * (chosen == m))[:, None]
        torch.testing.assert_close(bank.anchors()[m], (share * normed).sum(0) / share.sum())


def test_momentum_keeps_the_old():
    bank = MemoryAnchors(2, WIDTH, momentum=0.75)
    old = bank.total.clone()
    bank.update(torch.tensor([3.0, 1.0]), torch.ones(2, WIDTH))
    torch.testing.assert_close(bank.count, torch.tensor([0.75 + 0.25 * 1.5, 0.75 + 0.25 * 0.5]))
    torch.testing.assert_close(bank.total, 0.75 * old + 0.25 * 0.5 * torch.ones(2, WIDTH))


def test_statistics_add_over_micro_batches():
    bank, x = MemoryAnchors(4, WIDTH, 0.9), torch.randn(30, WIDTH)
    weights = torch.rand(30, 4)
    whole = bank.collect(weights, x)
    parts = [bank.collect(w, h) for w, h in zip(weights.split(11), x.split(11), strict=True)]
    for total, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(sum(pieces), total)


def test_statistics_are_not_rounded_under_autocast():
    bank, x, weights = MemoryAnchors(4, WIDTH, 0.9), torch.randn(30, WIDTH), torch.rand(30, 4)
    expected = bank.collect(weights, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.equal(*pair) for pair in zip(bank.collect(weights, x), expected, strict=True))


def test_asking_every_anchor_revives_the_dead_alone(monkeypatch: pytest.MonkeyPatch):
    """As an accelerator does, which does not know who is dead."""
    monkeypatch.setattr(MemoryAnchors, "SPREAD", 0.0)
    banks = [MemoryAnchors(6, WIDTH, momentum=0.5) for _ in range(2)]
    banks[1].load_state_dict(banks[0].state_dict())
    use = torch.tensor([9.0, 0.0, 1.0, 0.0, 4.0, 0.0]), torch.randn(6, WIDTH)
    for _ in range(6):
        banks[0].update(*use)
    before = {name: tensor.clone() for name, tensor in banks[0].state_dict().items()}
    monkeypatch.setattr(banks[1], "_candidates", lambda dead: range(len(dead)))
    for _ in range(6):
        banks[1].update(*use)
    for name, tensor in before.items():
        assert torch.equal(banks[1].state_dict()[name], tensor), name


def test_dead_anchors_start_again_beside_the_busiest():
    bank = MemoryAnchors(4, WIDTH, momentum=0.5)
    counts, totals = torch.tensor([8.0, 4.0, 0.0, 2.0]), torch.randn(4, WIDTH)
    totals[2] = 0
    first = bank.anchors()[2].clone()
    for _ in range(12):
        bank.update(counts, totals)
    assert (bank.count >= 0.01 * bank.count.mean()).all()
    assert bank.count.sum() == pytest.approx(4, rel=0.02)
    revived, busiest = bank.anchors()[2], totals[0] / counts[0]
    assert (revived - busiest).norm() < (revived - first).norm()
    assert not torch.equal(revived, bank.anchors()[0])


def test_no_attention_leaves_the_anchors_in_place():
    bank = MemoryAnchors(3, WIDTH, momentum=0.9)
    before = bank.anchors().clone()
    bank.update(torch.zeros(3), torch.zeros(3, WIDTH))
    torch.testing.assert_close(bank.anchors(), before)


def test_rank_and_usage_count_anchors():
    bank = MemoryAnchors(4, WIDTH, momentum=0.9)
    bank.total.copy_(torch.eye(4, WIDTH))
    assert bank.effective_rank() == pytest.approx(4)
    assert bank.usage() == pytest.approx(4)
    bank.total.copy_(torch.ones(4, WIDTH))
    bank.count.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]) + 1e-9)
    assert bank.usage() == pytest.approx(1)
    bank.count.fill_(1)
    assert bank.effective_rank() == pytest.approx(1, abs=1e-3)
