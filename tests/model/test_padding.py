"""What a row is worth does not depend on the side of its padding: logits, state, last logits and losses."""

import pytest
import torch
from builders import draw_tokens, switched

PADDED = [
    *("transformer", "golf-record", "triangular", "hyena-relaxed", "toeplitz-relaxed", "toeplitz-expsum"),
    *("tmt", "dense", "everything", "stream-memory"),
]
"""Rows of another kind of state each."""


@torch.no_grad()
@pytest.mark.parametrize("name", PADDED)
def test_padding_on_the_left_does_not_matter(name: str):
    model, tokens = switched(name), draw_tokens(3, 30)
    lengths = torch.tensor([30, 1, 14])
    right = tokens.clone()
    for row, length in enumerate(lengths.tolist()):
        right[row, :length] = tokens[row, 30 - length :]
    expected = model(right, lengths=lengths, return_state=True)
    padded = model(tokens, lengths=lengths, padding_side="left", return_state=True)
    for row, length in enumerate(lengths.tolist()):
        actual = padded.logits[row, 30 - length :]
        torch.testing.assert_close(actual, expected.logits[row, :length], rtol=0, atol=1e-10)
    following = draw_tokens(3, 1, seed=4)
    after = [model(following, output.state).logits for output in (padded, expected)]
    torch.testing.assert_close(*after, rtol=0, atol=1e-10)
    last = model(tokens, lengths=lengths, padding_side="left", last_only=True).logits
    torch.testing.assert_close(last[:, 0], padded.logits[:, -1], rtol=0, atol=1e-10)
    targets = draw_tokens(3, 30, seed=8)
    scored = model(tokens, lengths=lengths, padding_side="left", targets=targets)
    nll = torch.nn.functional.cross_entropy(padded.logits.transpose(1, 2), targets, reduction="none")
    torch.testing.assert_close(scored.nll[0], nll[0], rtol=0, atol=1e-8)
    torch.testing.assert_close(scored.nll[2, 16:], nll[2, 16:], rtol=0, atol=1e-8)
