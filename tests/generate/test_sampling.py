import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.generate import Sampler, row_generators

PROBABILITIES = torch.tensor([[0.05, 0.4, 0.1, 0.3, 0.15]])
LOGITS = PROBABILITIES.log()


def draw(sampler: Sampler, logits: torch.Tensor, times: int, seed: int = 0) -> torch.Tensor:
    """(times, B) tokens."""
    generators = row_generators(seed, range(len(logits)))
    return torch.stack([sampler(logits, generators, [[]] * len(logits)) for _ in range(times)])


def dense(sampler: Sampler, logits: torch.Tensor) -> torch.Tensor:
    """(B, V) probabilities by id."""
    return sampler.distribution(logits).float()


def test_zero_temperature_takes_the_likeliest():
    assert draw(Sampler(temperature=0), LOGITS, 5).unique().tolist() == [1]


def test_draws_follow_the_probabilities():
    drawn = draw(Sampler(temperature=1), LOGITS, 4000)[:, 0]
    shares = torch.bincount(drawn, minlength=5) / 4000
    torch.testing.assert_close(shares, PROBABILITIES[0], rtol=0, atol=0.03)


def test_temperature_sharpens():
    expected = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    torch.testing.assert_close(dense(Sampler(temperature=0.5), LOGITS), expected)


@pytest.mark.parametrize("tiny", [1e-30, 1e-50, 5e-324])
def test_a_tiny_temperature_is_greedy(tiny: float):
    torch.testing.assert_close(dense(Sampler(temperature=tiny), LOGITS), torch.tensor([[0.0, 1, 0, 0, 0]]))


def test_top_k_keeps_the_likeliest():
    expected = torch.tensor([[0.0, 0.4, 0, 0.3, 0]]) / 0.7
    torch.testing.assert_close(dense(Sampler(temperature=1, top_k=2), LOGITS), expected)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(1e-9, [1]), (0.39, [1]), (0.41, [1, 3]), (0.71, [1, 3, 4]), (1.0, [0, 1, 2, 3, 4])]
)
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: list[int]):
    found = dense(Sampler(temperature=1, top_p=top_p), LOGITS)
    assert found[0].nonzero()[:, 0].tolist() == kept
    torch.testing.assert_close(found[0, kept], PROBABILITIES[0, kept] / PROBABILITIES[0, kept].sum())


@pytest.mark.parametrize(
    ("min_p", "kept"), [(1.0, [1]), (0.7, [1, 3]), (0.3, [1, 3, 4]), (0.1, [0, 1, 2, 3, 4])]
)
def test_min_p_keeps_what_is_near_the_likeliest(min_p: float, kept: list[int]):
    found = dense(Sampler(temperature=1, min_p=min_p), LOGITS)
    assert found[0].nonzero()[:, 0].tolist() == kept
    torch.testing.assert_close(found[0, kept], PROBABILITIES[0, kept] / PROBABILITIES[0, kept].sum())


def test_what_came_is_less_likely():
    logits, penalty = torch.tensor([[2.0, -1.0, 0.5], [2.0, -1.0, 0.5]]), Sampler(0, repetition_penalty=5.0)
    assert penalty(logits, row_generators(0, range(2)), [[0, 0], [1]]).tolist() == [2, 0]
    sampled = Sampler(1.0, repetition_penalty=1e9)
    drawn = {int(sampled(-logits[:1], row_generators(seed, range(1)), [[0, 2]])) for seed in range(40)}
    assert drawn == {1}  # a negative logit falls further
    assert logits.tolist() == [[2.0, -1.0, 0.5]] * 2


def test_noise_changes_hardly_any_choice():
    logits = torch.randn(1, 50_257, generator=torch.Generator().manual_seed(0)) * 0.01
    noisy = logits + 1e-6 * torch.randn(1, 50_257, generator=torch.Generator().manual_seed(1))
    generators = [torch.Generator().manual_seed(2) for _ in range(2)]
    found = [
        torch.cat([Sampler(1.0)(row, [generator], [[]]) for _ in range(200)])
        for row, generator in zip((logits, noisy), generators, strict=True)
    ]
    assert (found[0] != found[1]).sum() <= 1


def test_the_last_of_rounded_sums_has_a_probability(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.ones(*size, dtype=torch.float64))
    logits = torch.tensor([[0.0, 1.0, -math.inf], [0.0, -math.inf, -math.inf]])
    assert Sampler(1.0)(logits, row_generators(0, range(2)), [[], []]).tolist() == [1, 0]


def test_top_p_counts_within_top_k():
    found = dense(Sampler(temperature=1, top_k=2, top_p=0.5), LOGITS)
    assert found[0].nonzero()[:, 0].tolist() == [1]


@given(
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9),
    st.floats(0.01, 10),
    st.floats(1e-6, 1),
    st.integers(1, 12),
)
def test_there_is_always_a_distribution(values: list[float], temperature: float, top_p: float, top_k: int):
    found = dense(Sampler(temperature, top_k, top_p), torch.tensor([values]))
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[0].argmax() in (torch.tensor(values) == max(torch.tensor(values))).nonzero()
    assert (found > 0).sum() <= top_k


def test_impossible_tokens_are_never_drawn():
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 1.0]])
    assert set(draw(Sampler(temperature=5), logits, 200).flatten().tolist()) == {1, 3}


def test_a_row_does_not_depend_on_the_others():
    alone = draw(Sampler(), LOGITS, 20)
    together = draw(Sampler(), torch.cat([LOGITS, LOGITS.flip(1)]), 20)
    assert torch.equal(alone[:, 0], together[:, 0])
    assert not torch.equal(together[:, 0], draw(Sampler(), LOGITS.expand(2, -1), 20)[:, 1])


def test_seeds_repeat_and_differ():
    one, again, other = (draw(Sampler(), LOGITS, 20, seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (dict(temperature=-1), "temperature=-1"), (dict(temperature=math.nan), "temperature=nan"),
        (dict(temperature=math.inf), "temperature=inf"), (dict(top_k=0), "top_k=0"),
        (dict(top_p=0), "top_p=0"), (dict(top_p=1.1), "top_p=1.1"), (dict(min_p=0), "min_p=0"),
        (dict(min_p=1.1), "min_p=1.1"), (dict(repetition_penalty=0), "repetition_penalty=0"),
    ],
)  # fmt: skip
def test_bad_options_are_named(options: dict[str, float], named: str):
    with pytest.raises(InputError, match=named):
        Sampler(**options)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed=-1"):
        row_generators(-1, range(1))
