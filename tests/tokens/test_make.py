import json
import re
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
import sentencepiece
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from tmt.errors import InputError
from tmt.text import SPLITS
from tmt.text.corpus import Corpus, MemoryCorpus, SplitCorpus
from tmt.tokens import load_tokenizer, make, make_tokenizer
from tmt.tokens.byte_level import LONGEST_WORD, train_bpe
from tmt.tokens.sentence_piece import SentencePieceTokenizer

TEXTS = [f"{i} " + "so many different words here that merges may surely be learnt " * 3 for i in range(60)]
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level(**changes: object) -> tokenizers.Tokenizer:
    vocabulary = {symbol: i for i, symbol in enumerate(ALPHABET)}
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    for name, value in changes.items():
        setattr(inner, name, value)
    return inner


def test_trained_once_on_the_train_split_only(tmp_path: Path) -> None:
    asked = []

    class TrainOnly(MemoryCorpus):
        def _documents(self, split):
            asked.append(split)
            return super()._documents(split)

    corpus = TrainOnly("words", "k", TEXTS)
    first = make_tokenizer("bpe:300", corpus, tmp_path)
    second = make_tokenizer("bpe-300", corpus, tmp_path)
    assert asked == ["train"]
    assert first.key == second.key
    assert first.vocab_size == 300
    assert make_tokenizer("bpe:300", corpus, tmp_path / "other").key == first.key
    make_tokenizer("bpe:300", MemoryCorpus("words", "k2", TEXTS), tmp_path)
    assert len(list((tmp_path / "tokenizers").iterdir())) == 2


def test_damaged_cached_tokenizer_is_trained_anew(corpus: Corpus, tmp_path: Path) -> None:
    key = make_tokenizer("bpe:300", corpus, tmp_path).key
    (file,) = tmp_path.rglob("tokenizer.json")
    file.write_text(file.read_text(encoding="utf-8")[:100], encoding="utf-8")
    assert make_tokenizer("bpe:300", corpus, tmp_path).key == key
    assert load_tokenizer(file).key == key


def test_training_text_is_bounded(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "TRAINING_BYTES", 30)
    with pytest.raises(InputError, match="the corpus yields only 2"):
        make_tokenizer("bpe:400", corpus, tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bytse", "unknown tokenizer 'bytse'; did you mean bytes"),
        ("", "unknown tokenizer ''; known: auto, bpe:4096, bytes, sp:8192, sp:8192:nfkc"),
        ("bpe:100", r"tokenizer bpe:100: the size must be in \[257, 1048576\]"),
        ("sp:100", r"tokenizer sp:100: the size must be in \[261"),
        ("bpe:99999999999999999999", "the size must be in"),
        ("bpe:300:nfkc", "unknown tokenizer 'bpe:300:nfkc'"),
        ("sp:8192:record", "unknown tokenizer 'sp:8192:record'; did you mean sp:8192:nfkc"),
        ("nowhere/tokenizer.json", "no such tokenizer file: nowhere/tokenizer.json"),
        ("my.model", r"no such tokenizer file: my\.model"),
        ("hf:a b", "tokenizer hf:a b: expected hf:owner/name"),
    ],
)
def test_unusable_names(spec: str, message: str, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        make_tokenizer(spec, corpus, tmp_path)
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.model"))


@pytest.mark.parametrize("spec", ["bpe:9000", "sp:9000", "sp:9000:nfkc", "sp:262", "sp:262:nfkc"])
def test_a_size_that_does_not_fit_the_text_is_answered_by_one_that_does(
    spec: str, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="ask for") as refusal:
        make_tokenizer(spec, corpus, tmp_path)
    message = str(refusal.value)
    assert "--" not in message
    advice, limit = re.findall(r"ask for (\S+) or (less|more)", message)[0]
    made = make_tokenizer(advice, corpus, tmp_path)
    assert made.vocab_size == int(advice.split(":")[1])
    assert (made.vocab_size < 9000) == (limit == "less") or spec.startswith("sp:262")
    assert made.rewrites_text == spec.endswith("nfkc")


@pytest.mark.parametrize("form", ["sp:280", "sp:280:nfkc"])
def test_text_to_learn_nothing_from(form: str, tmp_path: Path) -> None:
    nothing = SplitCorpus("c", "k", {split: lambda: iter(["", ""]) for split in SPLITS})
    with pytest.raises(InputError, match=rf"{form} cannot be trained on this corpus: it holds no text"):
        make_tokenizer(form, nothing, tmp_path)


def test_auto_takes_what_the_text_yields(corpus: Corpus, tmp_path: Path, monkeypatch) -> None:
    small = make_tokenizer("auto", corpus, tmp_path)
    assert 257 < small.vocab_size < make.DEFAULT_SIZE
    assert small.key == make_tokenizer(f"bpe:{small.vocab_size}", corpus, tmp_path).key
    monkeypatch.setattr(make, "DEFAULT_SIZE", 300)
    assert make_tokenizer("auto", corpus, tmp_path).key == make_tokenizer("bpe:300", corpus, tmp_path).key


@pytest.mark.parametrize("spec", ["auto", "bpe:400", "sp:1400", "sp:1400:nfkc"])
@pytest.mark.parametrize("alphabet", ["ACDEFGHIKLMNPQRSTVWY", "".join(map(chr, range(0x4E00, 0x5200)))])
def test_text_without_spaces(spec: str, alphabet: str, tmp_path: Path) -> None:
    chance = Random(0)
    texts = ["".join(chance.choices(alphabet, range(len(alphabet), 0, -1), k=600)) for _ in range(60)]
    tokenizer = make_tokenizer(spec, MemoryCorpus("c", alphabet, texts), tmp_path)
    for text in (texts[0], f"{texts[1]} {texts[2]}\n"):
        ids = tokenizer.encode(text)
        assert len(ids) < len(text.encode())
        assert tokenizer.decode(ids) == (text.rstrip() if tokenizer.rewrites_text else text)


def test_a_long_line_is_learnt_from_in_parts() -> None:
    made = train_bpe(["A" * 8192] * 3, 300, progress=False)
    assert 500 < made.byte_lengths.max() <= LONGEST_WORD
    words = [" words", " between", " spaces"] * 700
    whole, parts = (train_bpe(texts, 280, progress=False) for texts in (["".join(words)], words))
    assert whole.key == parts.key


def test_training_needs_a_corpus() -> None:
    with pytest.raises(InputError, match="tokenizer sp:8192 is trained on a corpus"):
        make_tokenizer("sp:8192")
    assert make_tokenizer("bytes").vocab_size == 257


def test_hub_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str) -> tokenizers.Tokenizer:
        if name != "owner/name":
            raise OSError("no network\nlong story")
        return byte_level()

    fake = SimpleNamespace(Tokenizer=SimpleNamespace(from_pretrained=fetch))
    monkeypatch.setattr(make, "tokenizers", fake)
    assert make_tokenizer("hf:owner/name").decode([0]) == "!"
    with pytest.raises(InputError, match=r"cannot fetch tokenizer hf:owner/other: no network$"):
        make_tokenizer("hf:owner/other")


def test_foreign_byte_level_tokenizer(tmp_path: Path) -> None:
    inner = byte_level()
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(r"\d{1,3}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.add_special_tokens(["</s>"])
    inner.add_tokens([AddedToken("é  é", normalized=False)])
    inner.enable_truncation(3)
    inner.enable_padding(length=50)
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    text = "x</s> é  é 12345 " * 3
    ids = tokenizer.encode(text)
    assert tokenizer.eot_id == 256
    assert 256 not in ids
    assert 257 in ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.byte_counts(ids, ids).sum() == len(text.encode())


def test_vocabulary_with_gaps(tmp_path: Path) -> None:
    vocabulary = {symbol: 2 * i for i, symbol in enumerate(ALPHABET)}
    inner = byte_level(model=models.BPE(vocab=vocabulary | {"<|endoftext|>": 999}, merges=[]))
    inner.add_special_tokens(["<|endoftext|>"])
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.vocab_size, tokenizer.eot_id) == (1000, 999)
    assert tokenizer.decode([*tokenizer.encode("gaps é"), 1, 3]) == "gaps é"
    byte_level(model=models.BPE(vocab=vocabulary, merges=[])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="two of its tokens share an id"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (
            byte_level(
                pre_tokenizer=pre_tokenizers.Sequence(
                    [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
                )
            ),
            "adds a space",
        ),
        (byte_level(pre_tokenizer=pre_tokenizers.Metaspace()), "does not work on bytes"),
        (byte_level(pre_tokenizer=None), "does not work on bytes"),
        (
            byte_level(
                pre_tokenizer=pre_tokenizers.Sequence(
                    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
                )
            ),
            "may drop text",
        ),
        (byte_level(model=models.WordPiece({"a": 0}, unk_token="a")), "its model is WordPiece, not BPE"),
        (byte_level(model=models.Unigram([("a", 0.0)])), "its model is Unigram"),
        (byte_level(model=models.BPE(vocab={"a": 0}, merges=[])), "lacks 255 of the 256 bytes"),
        (byte_level(model=models.BPE(dropout=0.1)), "random"),
        (byte_level(model=models.BPE(end_of_word_suffix="</w>")), "prefix or suffix"),
    ],
)
def test_inexact_tokenizers_are_refused(inner: tokenizers.Tokenizer, message: str, tmp_path: Path) -> None:
    inner.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=rf"tokenizer\.json: .*{message}.*; only byte-level BPE"):
        load_tokenizer(tmp_path)


def test_added_token_that_swallows_space_is_refused(tmp_path: Path) -> None:
    inner = byte_level()
    inner.add_tokens([AddedToken("mask", lstrip=True)])
    inner.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="swallows white space"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer.json", json.dumps({"version": 1})),
        ("tokenizer.json", "[]"),
        ("tokenizer.model", "no model"),
        ("tokenizer.model", ""),
    ],
)
def test_damaged_files(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        load_tokenizer(tmp_path)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds neither tokenizer\.json nor tokenizer\.model"):
        load_tokenizer(tmp_path)


def test_sentence_piece_missing(monkeypatch: pytest.MonkeyPatch, corpus: Corpus, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match=r"temporalmesh-transformer\[sentencepiece\]"):
        make_tokenizer("sp:330", corpus, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"byte_fallback": False}, "has no byte fallback"),
        ({"bos_id": -1}, "has no BOS"),
    ],
)
def test_unsuitable_sentence_piece_models(options: dict, message: str, tmp_path: Path) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["some words to learn from"] * 20),
        model_prefix=str(tmp_path / "tokenizer"),
        model_type="bpe",
        vocab_size=280,
        hard_vocab_limit=False,
        minloglevel=2,
        **{"byte_fallback": True, **options},
    )
    with pytest.raises(InputError, match=rf"tokenizer\.model {message}"):
        load_tokenizer(tmp_path)


def test_sentence_piece_without_a_space_of_its_own(corpus: Corpus, cache: Path) -> None:
    tokenizer = make_tokenizer("sp:330", corpus, cache)
    path = tokenizer.save(cache)
    model = path.read_bytes()
    space = "▁".encode()
    entry = b"\n\x03" + space + b"\x15"
    assert model.count(entry) == 1
    with pytest.raises(InputError, match=r"tokenizer here lacks the piece '▁' \(U\+2581\)"):
        SentencePieceTokenizer(model.replace(entry, b"\n\x03" + "▂".encode() + b"\x15"), "here")
