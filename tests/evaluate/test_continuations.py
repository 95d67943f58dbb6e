from collections.abc import Sequence

import pytest
import torch

from tiny_models import BYTES, tiny
from tmt.errors import InputError
from tmt.evaluate.continuations import Continuation, encode_pairs, score_continuations
from tmt.tokens import Tokenizer
from tmt.tokens.byte_level import train_bpe

PAIRS = [
    ("The mesh", " of tokens"),
    ("The mesh ", "sees"),
    ("", "alone"),
    ("a", "b"),
    ("a", "c"),
    ("naïve", "té"),
]
MODELS = ["plain", "transformer", "toeplitz"]


def by_hand(model, continuation: Continuation) -> tuple[float, bool]:
    """The probability of every target from its own forward pass, unpadded."""
    ids, total, greedy = list(continuation.inputs), 0.0, True
    for position, target in enumerate(continuation.targets, len(ids) - len(continuation.targets) + 1):
        logits = model(torch.tensor([ids[:position]])).logits[0, -1].detach().double()
        total += float(logits.log_softmax(-1)[target])
        greedy &= int(logits.argmax()) == target
    return total, greedy


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    text = "the mesh of tokens sees no later one, the token of the mesh"
    return train_bpe([text] * 9, 275, progress=False)


@pytest.mark.parametrize("variant", MODELS)
def test_likelihoods_are_those_of_full_forward_passes(variant: str):
    model, asked = tiny(variant), encode_pairs(BYTES, PAIRS, 40)
    for continuation, found in zip(asked, score_continuations(model, asked, 4), strict=True):
        log_probability, greedy = by_hand(model, continuation)
        assert found.log_probability == pytest.approx(log_probability, abs=1e-4)
        assert found.greedy == greedy


@pytest.mark.parametrize("variant", MODELS)
def test_batching_changes_nothing(variant: str):
    model, asked = tiny(variant), encode_pairs(BYTES, PAIRS, 40)
    alone = [score_continuations(model, [continuation])[0] for continuation in asked]
    for one, found in zip(alone, score_continuations(model, asked, 100), strict=True):
        assert found.log_probability == pytest.approx(one.log_probability, abs=1e-4)


@pytest.mark.parametrize("variant", MODELS)
def test_greedy_is_what_the_model_would_choose(variant: str):
    model, ids, chosen = tiny(variant), [BYTES.eot_id, 65, 66], []
    for _ in range(3):
        chosen.append(int(model(torch.tensor([ids + chosen])).logits[0, -1].argmax()))
    asked = [
        Continuation((*ids, *targets[:-1]), tuple(targets))
        for targets in (chosen, [(chosen[0] + 1) % 256, *chosen[1:]], [*chosen[:2], (chosen[2] + 1) % 256])
    ]
    assert [found.greedy for found in score_continuations(model, asked)] == [True, False, False]


@pytest.mark.parametrize(("answers", "rows"), [("ABCD", 1), (["AB", "AC", "BC", "CC"], 3)])
def test_equal_inputs_are_run_once(answers: Sequence[str], rows: int, monkeypatch: pytest.MonkeyPatch):
    model, run = tiny("transformer"), []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda tokens: (run.append(len(tokens)), encode(tokens))[1])
    found = score_continuations(model, encode_pairs(BYTES, [("Answer: ", text) for text in answers], 40))
    assert sum(run) == rows
    assert len(set(found)) == len(answers)


def test_the_head_reads_continuations_only():
    model, read = tiny("transformer"), []
    model.head.register_forward_pre_hook(lambda _, arguments: read.append(len(arguments[0])))
    asked = encode_pairs(BYTES, [("A long text before", " it"), ("Another", "!"), ("Another", "?")], 40)
    score_continuations(model, asked)
    assert sorted(read) == [1, 3]


def test_nothing_to_score_is_certain():
    (found,) = score_continuations(tiny("transformer"), encode_pairs(BYTES, [("", "")], 40))
    assert (found.log_probability, found.greedy) == (0.0, True)


def test_long_contexts_lose_their_start():
    (cut,) = encode_pairs(BYTES, [("x" * 50 + "abc", "de")], 4)
    assert cut == Continuation(tuple(b"abcd"), tuple(b"de"))
    model = tiny("transformer", max_seq_len=4)
    assert score_continuations(model, [cut])[0].log_probability == pytest.approx(
        by_hand(model, cut)[0], abs=1e-4
    )


def test_a_continuation_must_fit():
    with pytest.raises(InputError, match=r"5 tokens .* context of 4"):
        encode_pairs(BYTES, [("a", "bcdef")], 4)


@pytest.mark.parametrize(
    ("pair", "targets"),
    [
        (("the mesh", " of"), " of"),
        (("the mesh ", "of"), " of"),
        (("the mesh  \n", "of"), "  \nof"),
        (("", "the mesh"), "the mesh"),
        (("  ", "of"), "  of"),
    ],
)
def test_white_space_goes_with_the_word_behind_it(pair: tuple[str, str], targets: str, bpe: Tokenizer):
    for tokenizer in (BYTES, bpe):
        (found,) = encode_pairs(tokenizer, [pair], 40)
        assert tokenizer.decode(found.targets) == targets
        assert found.inputs[0] == tokenizer.eot_id
        assert [*found.inputs[1:], found.targets[-1]] == tokenizer.encode("".join(pair))


def test_a_token_over_the_border_is_scored(bpe: Tokenizer):
    assert len(bpe.encode(" mesh")) == 1, "the tokenizer has to know the word for this test"
    (found,) = encode_pairs(bpe, [("the me", "sh")], 40)
    assert bpe.decode(found.targets) == " mesh"
