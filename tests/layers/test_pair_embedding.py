"""The hashed table of pairs: which row a token gets, and what it depends on."""

import pytest
import torch

from tmt.layers.pair_embedding import FACTOR, PairEmbedding

ROWS = 97


def drawn(rows: int = ROWS) -> PairEmbedding:
    pairs = PairEmbedding(rows, 8)
    torch.nn.init.normal_(pairs.weight)
    return pairs


def test_it_starts_at_zero():
    vectors = PairEmbedding(ROWS, 8)(torch.randint(0, 50, (2, 9)))
    assert vectors.shape == (2, 9, 8)
    assert not vectors.any()


def test_keys_by_hand():
    tokens = torch.randint(0, 50, (3, 11))
    expected = [[(FACTOR * row[max(t - 1, 0)] + row[t]) % ROWS for t in range(11)] for row in tokens.tolist()]
    assert drawn().keys(tokens).tolist() == expected
    assert FACTOR == 2039


def test_a_sequence_of_one_token_is_paired_with_itself():
    tokens = torch.tensor([[7], [8]])
    assert drawn().keys(tokens).tolist() == [[2040 * 7 % ROWS], [2040 * 8 % ROWS]]
    assert torch.equal(drawn().keys(tokens), drawn().keys(tokens.expand(2, 2))[:, 1:])


def test_equal_pairs_share_a_row_wherever_they_are():
    pairs = drawn(16384)
    vectors = pairs(torch.tensor([[1, 5, 6, 9, 5, 6], [6, 5, 6, 6, 5, 5]]))
    first = vectors[0, 2]
    assert torch.equal(vectors[0, 5], first)
    assert torch.equal(vectors[1, 2], first)
    for other in (vectors[1, 1], vectors[1, 3], vectors[1, 5], vectors[0, 1]):
        assert not torch.equal(other, first)


@pytest.mark.parametrize("position", range(6))
def test_the_next_token_never_changes_a_key(position: int):
    pairs, tokens = drawn(16384), torch.randint(0, 50, (4, 7))
    changed = tokens.clone()
    changed[:, position + 1] += 1
    before, after = pairs.keys(tokens), pairs.keys(changed)
    assert torch.equal(before[:, : position + 1], after[:, : position + 1])
    assert (before != after)[:, position + 1 : position + 3].all()
    assert torch.equal(before[:, position + 3 :], after[:, position + 3 :])


def test_a_vector_is_the_row_of_its_key():
    pairs, tokens = drawn(), torch.randint(0, 50, (2, 9))
    assert torch.equal(pairs(tokens), pairs.weight[pairs.keys(tokens)])


def test_gradients_reach_the_rows_that_occurred():
    pairs, tokens = drawn(), torch.randint(0, 50, (2, 9))
    pairs(tokens).sum().backward()
    assert pairs.weight.grad is not None
    touched = pairs.weight.grad.any(1).nonzero()[:, 0]
    assert torch.equal(touched, pairs.keys(tokens).unique())
    counts = pairs.keys(tokens).flatten().bincount(minlength=ROWS)
    assert torch.equal(pairs.weight.grad[:, 0], counts.float())


def test_large_vocabularies_stay_inside_the_table():
    keys = drawn(16384).keys(torch.tensor([[200_000, 0, 200_000, 199_999]]))
    assert keys.dtype == torch.int64
    assert 0 <= keys.min() <= keys.max() < 16384
