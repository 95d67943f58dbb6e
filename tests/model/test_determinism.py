"""The same seed gives the same parameters, losses and gradients, and training the same logits as reading."""

import pytest
import torch
from builders import SWITCHES, TRAINED_OTHERWISE, build, draw_tokens, switched

from tmt.model import ARCHITECTURES

TRAINED = {
    **{name: dict(dropout=0.2) for name in ARCHITECTURES},
    "tmt": dict(dropout=0.2, target_depth=0.7, decay="data", exact_until=10),
}


def train_two_steps(architecture: str, seed: int) -> list[torch.Tensor]:
    model = build(architecture, seed=seed, dtype=torch.float32, **TRAINED[architecture]).train()
    tokens, results = draw_tokens(2, 24), []
    for _ in range(2):
        output = model(tokens[:, :-1], targets=tokens[:, 1:])
        output.loss.backward()
        model.after_step(output.statistics)
        results += [output.loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
    return [*results, *model.state_dict().values()]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_seed_gives_the_same_bits(architecture: str):
    first, second = train_two_steps(architecture, 3), train_two_steps(architecture, 3)
    assert len(first) == len(second)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], train_two_steps(architecture, 4)[0])


@torch.no_grad()
@pytest.mark.parametrize("name", SWITCHES)
def test_without_dropout_training_computes_the_same(name: str):
    model, tokens = switched(name, dtype=torch.float32), draw_tokens(2, 20)
    read, trained = model(tokens).logits, model.train()(tokens).logits
    assert torch.equal(read, trained) == (name not in TRAINED_OTHERWISE)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_is_the_mean_of_the_scored_tokens(architecture: str):
    """Recorded, unrecorded and by hand, with targets that do not count."""
    model, tokens = build(architecture), draw_tokens(3, 20)
    targets = draw_tokens(3, 20, seed=9)
    targets[1, 5:] = -100
    logits = model(tokens).logits
    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    scored = model(tokens, targets=targets)
    assert scored.logits is None
    torch.testing.assert_close(scored.nll.flatten(), nll)
    torch.testing.assert_close(scored.loss, nll.sum() / (targets != -100).sum())
    with torch.enable_grad():
        recorded = model(tokens, targets=targets)
    assert recorded.nll is None
    torch.testing.assert_close(recorded.loss.detach(), scored.loss)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_is_trained(architecture: str):
    model, tokens = build(architecture).train(), draw_tokens(3, 30)
    model(tokens, targets=draw_tokens(3, 30, seed=2)).loss.backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not torch.count_nonzero(p.grad)]
    assert idle == []
