import pytest
import torch
from torch import Tensor

from tiny_models import VARIANTS, tiny
from tmt.errors import InputError
from tmt.evaluate import LeakError, causal_max_diff, check_causality
from tmt.evaluate.causality import worst_leak
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


@pytest.mark.parametrize("variant", [*VARIANTS, "transformer"])
def test_real_models_pass(variant: str):
    model = tiny(variant)
    depth = model(TOKENS[None]).depth
    assert depth is None or len(depth.unique()) > 1
    assert check_causality(model, TOKENS) < 1e-9


@pytest.mark.parametrize("kind", [Leaking, SeesOneAhead, KnowsTheLength])
def test_leaks_are_caught(kind: type[LanguageModel]):
    model = leaking(kind)
    assert causal_max_diff(model, TOKENS) > 1e-6
    with pytest.raises(LeakError, match=r"position \d+ change by .* after position \d+"):
        check_causality(model, TOKENS)


def test_the_leak_is_located():
    leak = worst_leak(leaking(SeesOneAhead), TOKENS)
    assert leak.position == leak.cut


def test_not_a_number_that_depends_on_the_future_is_a_leak():
    class Fragile(Leaking):
        def mixed(self, states: Tensor) -> Tensor:
            return states / (len(states) == len(TOKENS))

    with pytest.raises(LeakError):
        check_causality(leaking(Fragile), TOKENS)


def test_a_diverged_model_is_no_leak():
    model = tiny("transformer")
    model.embedding.weight.data.fill_(torch.nan)
    assert causal_max_diff(model, TOKENS) == 0


def test_the_model_is_left_as_it_was():
    model = tiny().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    causal_max_diff(model, TOKENS)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


def test_two_tokens_are_enough_and_one_is_not():
    assert causal_max_diff(tiny(), TOKENS[:2]) < 1e-9
    with pytest.raises(InputError, match="at least 2"):
        causal_max_diff(tiny(), TOKENS[:1])
