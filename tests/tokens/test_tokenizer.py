import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers, processors

from tmt.errors import InputError
from tmt.text.corpus import Corpus
from tmt.tokens import StreamDecoder, Tokenizer, load_tokenizer, make_tokenizer
from tmt.tokens.byte_level import train_bpe
from tmt.tokens.sentence_piece import SentencePieceTokenizer
from tmt.tokens.sentence_piece_training import train_sentence_piece
from tmt.tokens.wanted import Wanted

quick = settings(
    derandomize=True,
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
characters = st.characters(exclude_categories=["Cs"])
spaces = st.sampled_from([" ", "  ", "\n", "\t", "\r\n", "▁", "\u00a0", "\u3000", "\u200b", "\0"])
words = st.sampled_from(["the mesh", "ﬁ", "<s>", "<0x41>", "e\u0301"])
texts = st.lists(st.one_of(characters, spaces, words), max_size=20).map("".join)
AWKWARD = [
    "",
    "\n",
    " \n\n\t ",
    "  two  spaces  ",
    "été über naïve",
    "e\u0301 combining",
    "漢字かな交じり文",
    "👩‍👩‍👧‍👦 family 🇺🇳",
    "\x01\x1f\x7f\x85\u2028",
    "<|endoftext|></s><s><pad><0x41>",
    "▁ literal ▁▁",
    "ﬁ ligature ½ ™",
    "1790 and 2026",
    "\ufeffmark",
    "def f():\n    if x:\n\t\treturn\r\n\n\n",
    "null\0 ⁇ ▅ \ufffd \U0010ffff",
]


def charged(tokenizer: Tokenizer, ids: list[int]) -> int:
    return int(tokenizer.byte_counts(ids, [tokenizer.eot_id, *ids][: len(ids)]).sum())


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts(tokenizer: Tokenizer, text: str) -> None:
    check_accounts(tokenizer, text)


@quick
@given(text=texts)
@example(text="mesh  of\r\ntokens")
def test_any_text(tokenizer: Tokenizer, text: str) -> None:
    check_accounts(tokenizer, text)


def check_accounts(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    decoded = tokenizer.decode(ids)
    assert tokenizer.eot_id not in ids
    assert all(0 <= token < tokenizer.vocab_size for token in ids)
    assert charged(tokenizer, ids) == len(decoded.encode())
    counts = tokenizer.byte_counts(ids, [tokenizer.eot_id, *ids[:-1]][: len(ids)])
    pairs = zip(ids, [tokenizer.eot_id, *ids], strict=False)
    assert counts.tolist() == [len(tokenizer.token_bytes(token, previous)) for token, previous in pairs]
    decoder = StreamDecoder(tokenizer)
    assert "".join(map(decoder.push, ids)) == decoded
    assert decoder.flush() == ""
    if isinstance(tokenizer, SentencePieceTokenizer):
        assert decoded == tokenizer._inner.decode(ids)
    if tokenizer.rewrites_text:
        assert tokenizer.kept_bytes(text) <= min(len(text.encode()), len(decoded.encode()))
        assert (tokenizer.kept_bytes(text) == len(text.encode())) == (decoded == text)
    else:
        assert decoded == text
        assert charged(tokenizer, ids) == tokenizer.kept_bytes(text) == len(text.encode())
        assert tokenizer.raw_byte_counts(text, ids).tolist() == [0, *counts.tolist()]


def test_batch_equals_single(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_batch(AWKWARD) == [tokenizer.encode(text) for text in AWKWARD]
    assert tokenizer.encode_batch([]) == []


def test_separator_has_no_bytes(tokenizer: Tokenizer) -> None:
    eot = tokenizer.eot_id
    assert tokenizer.token_bytes(eot) == b""
    counts = tokenizer.byte_counts(np.array([[eot, eot]]), np.array([[5, eot]]))
    assert counts.dtype == np.int64
    assert counts.tolist() == [[0, 0]]


def test_saved_tokenizer_is_self_sufficient(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tokenizer.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    for source in (tmp_path, str(path)):
        again = load_tokenizer(source)
        assert type(again) is type(tokenizer)
        assert (again.key, again.vocab_size, again.eot_id) == (
            tokenizer.key,
            tokenizer.vocab_size,
            tokenizer.eot_id,
        )
        assert again.encode(" ".join(AWKWARD)) == tokenizer.encode(" ".join(AWKWARD))


def test_streamed_characters_are_whole(tokenizer: Tokenizer) -> None:
    decoder = StreamDecoder(tokenizer)
    parts = [decoder.push(token) for token in tokenizer.encode("a 漢 👩 é")]
    assert "".join(parts) == "a 漢 👩 é"
    assert "\ufffd" not in "".join(parts)
    assert "" in parts


def test_unfinished_character_is_flushed_as_replacement(tokenizer: Tokenizer) -> None:
    decoder = StreamDecoder(tokenizer)
    ids = tokenizer.encode("漢")[:-1]
    assert "".join(map(decoder.push, ids)) == ""
    assert decoder.flush() == "\ufffd"
    again = tokenizer.encode("the end")
    assert "".join(map(decoder.push, again)) == "the end"
    assert tokenizer.decode(ids) == "\ufffd"


def test_sentence_piece_charges_the_rewritten_text(corpus: Corpus, cache: Path) -> None:
    tokenizer = make_tokenizer("sp:330:nfkc", corpus, cache)
    ids = tokenizer.encode("the  mesh\nof ﬁ ")
    assert tokenizer.decode(ids) == "the mesh of fi"
    assert charged(tokenizer, ids) == 14
    lead = tokenizer.encode("a mesh")[1]
    bos, eos = 1, 2
    for previous, charge in ((bos, -1), (eos, -1), (ids[0], 0)):
        full = len(tokenizer.token_bytes(lead, ids[0]))
        assert tokenizer.byte_counts([lead], [previous]).tolist() == [full + charge]


FOREIGN: dict[str, dict[str, Any]] = {
    "defaults": {},
    "prefix": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "lower case": {"normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False},
    "spaces behind": {
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "treat_whitespace_as_suffix": True,
    },
}


@pytest.fixture(scope="module", params=FOREIGN)
def foreign(request: pytest.FixtureRequest) -> SentencePieceTokenizer:
    """A model that another program trained; the one with spaces behind its words keeps all text."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["The mesh sees no later token, and a gate lets easy ones leave."] * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=300,
        byte_fallback=True,
        required_chars="▁",
        hard_vocab_limit=False,
        minloglevel=2,
        **FOREIGN[request.param],
    )
    tokenizer = SentencePieceTokenizer(model.getvalue(), "foreign")
    assert tokenizer.rewrites_text == (request.param != "spaces behind")
    return tokenizer


@settings(quick, max_examples=60)
@given(text=texts)
@example(text=" The mesh\n  sees ﬁ")
@example(text="\u3000the É Mesh ")
def test_models_of_others_are_accounted_for(foreign: SentencePieceTokenizer, text: str) -> None:
    check_accounts(foreign, text)
    counts = foreign.raw_byte_counts(text, foreign.encode(text))
    assert counts.sum() == len(text.encode())


OTHERS: dict[str, tuple[Any, bool]] = {
    "NFC": (normalizers.NFC(), False),
    "NFKC, lower case": (normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), False),
    "space": (None, True),
    "NFD, space": (normalizers.NFD(), True),
    "strip": (normalizers.Strip(), False),
}


def file_of(name: str, folder: Path) -> Tokenizer:
    """A tokenizer.json that rewrites text, with merges over spaces and, where it may, an added token."""
    normaliser, prefix = OTHERS[name]
    plain = train_bpe(["the mesh sees no later token"] * 9, 280, progress=False)
    inner = tokenizers.Tokenizer.from_file(str(plain.save(folder)))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    inner.post_processor = processors.ByteLevel(trim_offsets=True)
    if normaliser is not None:
        inner.normalizer = normaliser
    if not prefix:
        inner.add_tokens([tokenizers.AddedToken("<s>", normalized=False)])
    inner.save(str(folder / "tokenizer.json"))
    return load_tokenizer(folder)


@pytest.fixture(scope="module", params=OTHERS)
def rewriting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return file_of(request.param, tmp_path_factory.mktemp("rewriting"))


@settings(quick, max_examples=60)
@given(text=texts)
@example(text="<s>\u0338 e\u0301 É ﬁ the mesh")
@example(text=" the mesh\n")
def test_a_file_with_a_normaliser_or_a_prefix_is_accounted_for(rewriting: Tokenizer, text: str) -> None:
    assert rewriting.rewrites_text
    check_accounts(rewriting, text)
    counts = rewriting.raw_byte_counts(text, rewriting.encode(text))
    assert counts.sum() == len(text.encode())
    assert counts.min() >= 0


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("NFC", "e\u0301 the é", 7),
        ("NFKC, lower case", "The ﬁ É", 4),
        ("space", "the mesh", 8),
        ("space", " the mesh", 8),
        ("strip", " the mesh\n", 8),
    ],
)
def test_what_such_a_file_spells(name: str, text: str, kept: int, tmp_path: Path) -> None:
    assert file_of(name, tmp_path).kept_bytes(text) == kept


@settings(derandomize=True, max_examples=25, deadline=None)
@given(text=texts.map("x{}".format), size=st.sampled_from([261, 400]))
def test_any_text_can_be_learnt_from(text: str, size: int) -> None:
    tokenizer = learnt(text, Wanted("sp", size))
    check_accounts(tokenizer, text)
    check_accounts(tokenizer, " " + text + "\n the mesh")


def learnt(text: str, wanted: Wanted) -> Tokenizer:
    """Of that size, or the one that is advised where that does not fit."""
    try:
        return train_sentence_piece([text, text], wanted)
    except InputError as error:
        (advice,) = re.findall(r"its characters alone need (\d+) ids; ask for sp:\1 or more", str(error))
    return train_sentence_piece([text, text], wanted.of_size(int(advice)))
