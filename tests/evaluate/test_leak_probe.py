import pytest
import torch
from torch import Tensor

from tiny_models import VARIANTS, tiny
from tmt.evaluate import LeakError, check_causality
from tmt.layers.cache import Cache
from tmt.model.base import Hidden, LanguageModel
from tmt.model.transformer import Transformer, TransformerConfig

TOKENS = torch.randint(0, 257, (48,), generator=torch.Generator().manual_seed(3))


class Leaking(Transformer):
    """Mixes something of the whole text into every state."""

    def mixed(self, states: Tensor) -> Tensor:
        return states + 1e-3 * states.mean(0)

    def trunk(self, tokens: Tensor, cache: Cache, diagnose: bool, last_only: bool) -> Hidden:
        hidden = super().trunk(tokens, cache, diagnose, last_only)
        return Hidden(self.mixed(hidden.states), hidden.output)


class SeesOneAhead(Leaking):
    def mixed(self, states: Tensor) -> Tensor:
        return states + 1e-4 * states.roll(-1, 0)


class KnowsTheLength(Leaking):
    def mixed(self, states: Tensor) -> Tensor:
        return states + 1e-3 * torch.linspace(0, 1, len(states))[:, None]


def leaking(kind: type[LanguageModel]) -> LanguageModel:
    config = TransformerConfig(
        vocab_size=257, max_seq_len=64, d_model=16, n_heads=2, n_layers=1, ffn_dim=16, dropout=0.0
    )
    return kind(config)


class SeesOneAheadInFloat32(Leaking):
    def mixed(self, states: Tensor) -> Tensor:
        ahead = 1e-2 if states.dtype == torch.float32 else 0
        return states + ahead * states.roll(-1, 0)


class SeesOneAheadNowAndThen(Leaking):
    """At every 17th position."""

    def mixed(self, states: Tensor) -> Tensor:
        now = torch.arange(len(states))[:, None] % 17 == 5
        return states + 1e-2 * now * states.roll(-1, 0)


@pytest.mark.parametrize("variant", [*VARIANTS, "transformer"])
def test_real_models_pass(variant: str):
    model = tiny(variant)
    depth = model(TOKENS[None]).depth
    assert depth is None or len(depth.unique()) > 1
    assert check_causality(model) < 1e-9


@pytest.mark.parametrize(
    "kind", [Leaking, SeesOneAhead, KnowsTheLength, SeesOneAheadInFloat32, SeesOneAheadNowAndThen]
)
def test_leaks_are_caught(kind: type[LanguageModel]):
    with pytest.raises(LeakError, match=r"logits of position \d+ .* position \d+"):
        check_causality(leaking(kind))


def test_not_a_number_that_depends_on_the_future_is_a_leak():
    class Fragile(Leaking):
        def mixed(self, states: Tensor) -> Tensor:
            return states / (len(states) == 64)

    with pytest.raises(LeakError):
        check_causality(leaking(Fragile))


def test_a_diverged_model_is_no_leak():
    model = tiny("transformer")
    model.embedding.weight.data.fill_(torch.nan)
    assert check_causality(model) == 0


def test_the_model_is_left_as_it_was():
    model = tiny().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    check_causality(model)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
