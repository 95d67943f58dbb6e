"""Bits per byte with a tokenizer whose pieces carry spaces and stand for rewritten text."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny_models import stream, tiny
from tmt.errors import InputError
from tmt.evaluate import evaluate_run, score
from tmt.evaluate.text_size import bytes_of, raw_text_bytes, spelt_share, target_bytes, text_bytes
from tmt.text import SPLITS
from tmt.text.corpus import MemoryCorpus, SplitCorpus
from tmt.tokens import Tokenizer, TokenSplits, TokenStream, make_tokenizer, prepare

TEXTS = [
    "two words",
    " leading and  double   spaces",
    "tabs\tand\nlines\n",
    "1790 and 2026",
    "👩‍👩‍👧‍👦 family 🇺🇳",
    "漢字かな交じり文",
    "ﬁve ½ ™ ﬂoors",
    "naïve été e\u0301",
    "",
]
SENTENCE = "the mesh of tokens sees no later one while a gate lets easy ones leave early 1790 "


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    texts = [SENTENCE[i % 60 :] + SENTENCE * 3 + f"number {i}." for i in range(60)]
    return make_tokenizer("sp:330:nfkc", MemoryCorpus("words", "k", texts), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def splits(pieces: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> TokenSplits:
    corpus = SplitCorpus("texts", "k", {split: lambda: iter(TEXTS) for split in SPLITS})
    return prepare(corpus, pieces, tmp_path_factory.mktemp("tokens"))


def uniform(vocab_size: int):
    model = tiny("transformer", vocab_size=vocab_size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


@pytest.mark.parametrize("text", TEXTS)
def test_tables_charge_what_the_tokens_spell(text: str, pieces: Tokenizer):
    tokens = stream(text, tokenizer=pieces)
    assert text_bytes(tokens, pieces, len(tokens) - 1) == len(pieces.decode(tokens.tolist()).encode())


def test_a_separator_costs_no_bytes_and_the_word_behind_it_no_space(pieces: Tokenizer):
    tokens = stream("mesh of", "of mesh", tokenizer=pieces)
    charged = target_bytes(tokens, pieces, 1, len(tokens))
    assert charged.sum() == len("mesh of" + "of mesh")
    assert charged[tokens[1:] == pieces.eot_id].tolist() == [0]
    one = pieces.encode("the one")[-1]
    assert pieces.token_bytes(one, one) == b" one"
    assert pieces.byte_counts([one, one], [pieces.eot_id, one]).tolist() == [3, 4]


def test_byte_pieces_cost_one_byte_each(pieces: Tokenizer):
    tokens = stream("漢👩", tokenizer=pieces)
    assert len(tokens) == 1 + 3 + 4
    assert target_bytes(tokens, pieces, 1, len(tokens)).tolist() == [1] * 7


def test_merging_two_tokens_changes_no_sum(pieces: Tokenizer):
    spelt = {pieces.token_bytes(i, pieces.encode("a")[0]): i for i in range(260, pieces.vocab_size)}
    merged = 0
    for text in (SENTENCE, "one number of tokens"):
        ids = [pieces.eot_id, *pieces.encode(text)]
        whole = pieces.byte_counts(ids[1:], ids[:-1]).sum()
        for n in range(1, len(ids)):
            full = pieces.token_bytes(ids[n], ids[-1])
            for cut in range(1, len(full)):
                if full[:cut] in spelt and full[cut:] in spelt:
                    parts = [*ids[:n], spelt[full[:cut]], spelt[full[cut:]], *ids[n + 1 :]]
                    assert pieces.byte_counts(parts[1:], parts[:-1]).sum() == whole
                    merged += 1
    assert merged > 20


def test_a_uniform_model_scores_the_logarithm_of_the_vocabulary(pieces: Tokenizer, splits: TokenSplits):
    model = uniform(pieces.vocab_size)
    raw = sum(len(text.encode()) for text in TEXTS)
    spelt = sum(len(pieces.decode(pieces.encode(text)).encode()) for text in TEXTS)
    assert raw != spelt
    for tokens, known in ((splits.valid, raw), (splits.valid[:], None)):
        targets = len(tokens) - 1
        for batch_size, context in ((1, 7), (3, 7), (8, 64)):
            result = score(
                model, tokens, pieces, context=context, stride=context, batch_size=batch_size, progress=False
            )
            assert (result.tokens, result.bytes, result.raw_bytes) == (targets, spelt, known)
            bits = math.log2(pieces.vocab_size) * targets
            assert result.bpb == pytest.approx(bits / spelt, rel=1e-6)
            raw_bpb = bits / known if known else math.nan
            assert result.raw_bpb == pytest.approx(raw_bpb, rel=1e-6, nan_ok=True)


def test_the_loss_of_a_separator_counts(pieces: Tokenizer):
    tokens = stream("mesh", "of", tokenizer=pieces)
    place = int(np.flatnonzero(tokens == pieces.eot_id)[1])
    model = tiny("transformer", vocab_size=pieces.vocab_size)
    without, with_it = (
        score(model, tokens[: place + n], pieces, context=32, stride=32, progress=False) for n in (0, 1)
    )
    assert with_it.bytes == without.bytes
    with torch.no_grad():
        log_p = model(torch.from_numpy(tokens[None, :place])).logits[0, -1].double().log_softmax(-1)
    expected = without.total_nats - float(log_p[pieces.eot_id])
    assert with_it.total_nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("limit", [1, 9, 40])
def test_raw_bytes_of_a_stretch(limit: int, pieces: Tokenizer, splits: TokenSplits):
    result = score(tiny("transformer", vocab_size=pieces.vocab_size), splits.valid, pieces,
                   context=16, stride=16, limit=limit, progress=False)  # fmt: skip
    assert splits.valid.raw_bytes is not None
    assert result.raw_bytes == splits.valid.raw_bytes[1 : limit + 1].sum()
    assert result.bytes == len(pieces.decode(splits.valid[: limit + 1].tolist()).encode())


def test_the_report_says_which_bytes(pieces: Tokenizer, splits: TokenSplits):
    model = tiny("transformer", vocab_size=pieces.vocab_size)
    plain, raw = (
        evaluate_run(model, pieces, splits, context=16, limit=40, raw_bytes=asked, progress=False)
        for asked in (False, True)
    )
    assert (plain["bytes_of"], raw["bytes_of"]) == ("normalised text", "text")
    assert plain["raw_bytes"] == raw["raw_bytes"] == raw["bytes"] != plain["bytes"]
    assert plain["raw_bpb"] == raw["raw_bpb"] == raw["bpb"] != plain["bpb"]
    assert plain["spelt"] == raw["spelt"] == splits.kept["test"] / sum(len(text.encode()) for text in TEXTS)
    assert 0.5 < plain["spelt"] < 0.95


def test_token_files_that_do_not_know_the_raw_text(pieces: Tokenizer, splits: TokenSplits):
    without = TokenStream(splits.valid.shards)
    bare = replace(splits, valid=without, test=without, bytes={}, kept={})
    model = tiny("transformer", vocab_size=pieces.vocab_size)
    record = evaluate_run(model, pieces, bare, context=16, limit=40, progress=False)
    assert (record["bytes_of"], record["raw_bytes"], record["raw_bpb"]) == ("normalised text", None, None)
    assert record["spelt"] is None
    with pytest.raises(InputError, match="leave out --raw-bytes"):
        evaluate_run(model, pieces, bare, context=16, raw_bytes=True, progress=False)
    with_raw = replace(splits, bytes={}, kept={})
    bound = spelt_share(with_raw, "valid", pieces)
    assert bound is not None
    assert 1 > bound >= splits.kept["valid"] / splits.bytes["valid"]


def test_nothing_is_lost_without_rewriting():
    exact = make_tokenizer("bytes")
    assert bytes_of(exact) == bytes_of(exact, raw=True) == "text"
    tokens = stream("a  b\n", "c")
    assert text_bytes(tokens, exact, 7) == raw_text_bytes(tokens, exact, 7) == 6
