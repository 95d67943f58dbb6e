"""Which bytes of the raw text a token stands for, where the tokenizer rewrites text."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tokenizer import AWKWARD

from tmt.errors import InputError
from tmt.text import SPLITS
from tmt.text.corpus import Corpus, SplitCorpus
from tmt.tokens import Tokenizer, make_tokenizer, prepare
from tmt.tokens.raw_bytes import LARGEST, kept_bytes, raw_byte_counts

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
REWRITTEN = [
    "a\t\ttab\r\n\r\nand lines",
    "   leading and trailing   ",
    "ﬁve ﬂoors, ½ of them ™ ① ㍿",
    "e\u0301 \u1e9b\u0323 \ufb2c \u0344",
    "ＦＵＬＬ　ｗｉｄｔｈ",
    "zero\u200bwidth\u00adhyphen\ufeff",
    "\x01\x02",
    "a\0b",
]


@pytest.fixture(scope="module")
def pieces(corpus: Corpus, cache: Path) -> Tokenizer:
    return make_tokenizer("sp:330:nfkc", corpus, cache)


@pytest.mark.parametrize("text", [*AWKWARD, *REWRITTEN])
def test_every_byte_of_the_text_belongs_to_one_token(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    counts = tokenizer.raw_byte_counts(text, ids)
    assert counts.shape == (1 + len(ids),)
    assert counts.sum() == len(text.encode())
    assert counts.min() >= 0
    assert counts[0] == 0 or not ids


@given(text=texts)
def test_any_text_adds_up(pieces: Tokenizer, text: str) -> None:
    ids = pieces.encode(text)
    counts = pieces.raw_byte_counts(text, ids)
    assert counts.sum() == len(text.encode())
    assert counts.min() >= 0


def test_text_that_stays_as_it_is_has_the_bytes_of_its_tokens(pieces: Tokenizer) -> None:
    for text in ("the mesh of tokens 1790", "a 漢字 and 👩 é", "<s></s> <0x41>"):
        ids = pieces.encode(text)
        assert pieces.decode(ids) == text
        counts = pieces.byte_counts([pieces.eot_id, *ids], [0, pieces.eot_id, *ids[:-1]])
        assert pieces.raw_byte_counts(text, ids).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("the  mesh", ["the", " mesh"], [3, 6]),
        ("  the mesh ", ["the", " mesh"], [5, 6]),
        ("the\x01 mesh", ["the", " mesh"], [4, 5]),
        ("oﬁce", ["ofi", "ce"], [4, 2]),
    ],
)
def test_what_a_token_stands_for(text: str, words: list[str], expected: list[int], pieces: Tokenizer) -> None:
    ids = pieces.encode(text)
    counts, ends = pieces.raw_byte_counts(text, ids)[1:], np.cumsum([len(word) for word in words])
    after = [len(pieces.decode(ids[: n + 1])) for n in range(len(ids))]
    groups = np.searchsorted(ends, after)
    assert np.bincount(groups, weights=counts).tolist() == expected


def test_positions_by_hand() -> None:
    origins = np.array([2, 3, 3, 3, 6, 9])
    counts = raw_byte_counts(np.array([1, 2, 4, 5]), origins, 11)
    assert counts.tolist() == [0, 3, 1, 2, 5]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("the mesh", 8),
        ("the  mesh", 8),
        ("  the mesh ", 8),
        ("the\nmesh", 7),
        ("the\n    mesh", 7),
        ("ﬁve", 2),
        ("½ é e\u0301", 1 + 2 + 1),
        ("a▁b", 2),
        ("\u200b\x01", 0),
        ("", 0),
    ],
)
def test_what_the_tokens_can_spell(text: str, kept: int, pieces: Tokenizer) -> None:
    assert pieces.kept_bytes(text) == kept


def test_a_character_is_kept_whole_or_not_at_all() -> None:
    raw, spelt = "Éa".encode(), "éa".encode()
    assert raw[0] == spelt[0]
    assert kept_bytes(raw, spelt, np.array([0, 0, 2])) == 1
    assert kept_bytes(raw, raw, np.array([0, 0, 2])) == 3


def test_without_a_token_the_separator_stands_for_all(pieces: Tokenizer) -> None:
    assert pieces.encode("\u200b \x01") == []
    assert pieces.raw_byte_counts("\u200b \x01", []).tolist() == [5]


def test_more_bytes_than_a_token_may_have_go_to_the_next_ones(pieces: Tokenizer) -> None:
    text = "the" + " " * 70_000 + "mesh of tokens sees no later one"
    counts = pieces.raw_byte_counts(text, pieces.encode(text))
    assert counts.max() == LARGEST
    assert counts.sum() == len(text)
    assert counts[0] == 0
    at_the_end = raw_byte_counts(np.array([1, 2]), np.array([0, 1, 2]), LARGEST + 10)
    assert at_the_end.tolist() == [0, 10, LARGEST]
    assert raw_byte_counts(np.array([1]), np.array([0, 1]), LARGEST + 10).tolist() == [10, LARGEST]


def test_a_text_that_its_tokens_cannot_account_for() -> None:
    with pytest.raises(InputError, match=r"a document of 131,071 bytes has only 1 tokens"):
        raw_byte_counts(np.array([1]), np.array([0, 1]), 2 * LARGEST + 1)
    with pytest.raises(InputError, match="does not match its tokens"):
        raw_byte_counts(np.array([1, 2]), np.array([0, 1]), 2)


def test_streams_know_the_raw_bytes_of_every_document(pieces: Tokenizer, tmp_path: Path) -> None:
    documents = {"train": [*REWRITTEN[:4], "\x01"], "valid": AWKWARD[2:], "test": REWRITTEN[4:6]}
    corpus = SplitCorpus("c", "k", {s: (lambda s=s: iter(documents[s])) for s in SPLITS})
    splits = prepare(corpus, pieces, tmp_path)
    assert splits.kept == {s: sum(map(pieces.kept_bytes, texts)) for s, texts in documents.items()}
    for split in SPLITS:
        stream = getattr(splits, split)
        assert stream.raw_bytes is not None
        sums = np.add.reduceat(stream.raw_bytes[:], stream.document_starts)
        assert sums.tolist() == [len(text.encode()) for text in documents[split]]
        assert stream.raw_bytes.shards[0].tokens.dtype == np.uint16


def test_streams_of_exact_tokenizers_need_none(corpus: Corpus, tmp_path: Path) -> None:
    for spec in ("bpe:300", "sp:300"):
        splits = prepare(corpus, make_tokenizer(spec, corpus, tmp_path), tmp_path)
        assert all(getattr(splits, split).raw_bytes is None for split in SPLITS)
        assert splits.kept == splits.bytes
    assert not list(tmp_path.rglob("*_bytes_*"))
