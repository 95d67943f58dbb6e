import errno
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from tmt.errors import InputError
from tmt.text import SPLITS
from tmt.text.corpus import Corpus, SplitCorpus
from tmt.tokens import Tokenizer, TokenSplits, make_tokenizer, prepare
from tmt.tokens.shards import ShardWriter
from tmt.user_cache import cache_root

BYTES = make_tokenizer("bytes")


def documents_of(splits: TokenSplits, split: str, tokenizer: Tokenizer) -> list[str]:
    stream = getattr(splits, split)
    bounds = [*stream.document_starts.tolist(), len(stream)]
    parts = [stream[a:b] for a, b in pairwise(bounds)]
    assert all(part[0] == tokenizer.eot_id for part in parts)
    return [tokenizer.decode(part[1:].tolist()) for part in parts]


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob(".*")]


def test_documents_are_stored_behind_separators(corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    splits = prepare(corpus, tokenizer, tmp_path)
    for split in SPLITS:
        texts = list(corpus.documents(split))
        assert splits.documents[split] == len(texts)
        assert splits.bytes[split] == sum(len(text.encode()) for text in texts)
        found = documents_of(splits, split, tokenizer)
        assert [text.split() for text in found] == [text.split() for text in texts]
        ids = getattr(splits, split)[:]
        if hasattr(tokenizer, "byte_lengths"):
            assert tokenizer.byte_counts(ids, np.roll(ids, 1)).sum() == splits.bytes[split]


def test_documents_run_on_across_shards(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(corpus, BYTES, tmp_path / "a")
    monkeypatch.setattr(sys.modules[prepare.__module__], "SHARD_TOKENS", 1000)
    parts = prepare(corpus, BYTES, tmp_path / "b")
    assert len(parts.train.shards) > 10
    assert {len(shard.tokens) for shard in parts.train.shards[:-1]} == {1000}
    for split in SPLITS:
        one, many = getattr(whole, split), getattr(parts, split)
        np.testing.assert_array_equal(one[:], many[:])
        np.testing.assert_array_equal(one.document_starts, many.document_starts)


def test_built_once_and_rebuilt_when_anything_changes(counting_corpus, tmp_path: Path) -> None:
    prepare(counting_corpus, BYTES, tmp_path)
    prepare(counting_corpus, BYTES, tmp_path)
    assert counting_corpus.passes == 1
    prepare(counting_corpus, make_tokenizer("bpe:300", counting_corpus, tmp_path), tmp_path)
    assert counting_corpus.passes == 2
    counting_corpus.key = "another"
    prepare(counting_corpus, BYTES, tmp_path)
    assert counting_corpus.passes == 3


@pytest.mark.parametrize(
    "damage", ["no manifest", "bad manifest", "other manifest", "truncated", "flipped", "no shard"]
)
def test_damaged_cache_is_rebuilt(counting_corpus, tmp_path: Path, damage: str) -> None:
    before = prepare(counting_corpus, BYTES, tmp_path)
    (manifest,) = tmp_path.rglob("manifest.json")
    shard = manifest.parent / "valid_000000.bin"
    content = shard.read_bytes()
    match damage:
        case "no manifest":
            manifest.unlink()
        case "bad manifest":
            manifest.write_text("{", encoding="utf-8")
        case "other manifest":
            manifest.write_text(json.dumps({"shards": []}), encoding="utf-8")
        case "truncated":
            shard.write_bytes(content[:-1])
        case "flipped":
            shard.write_bytes(content[:2000] + bytes([content[2000] ^ 1]) + content[2001:])
        case "no shard":
            shard.unlink()
    after = prepare(counting_corpus, BYTES, tmp_path)
    assert counting_corpus.passes == 2
    assert shard.read_bytes() == content
    np.testing.assert_array_equal(before.train[:], after.train[:])
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("source broke"), MemoryError()])
def test_interrupted_build_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def broken():
        yield "a document"
        raise error

    corpus = SplitCorpus("c", "k", {"train": broken, "valid": lambda: iter("v"), "test": lambda: iter("t")})
    with pytest.raises(type(error)):
        prepare(corpus, BYTES, tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []


def test_full_disk_is_one_line(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ShardWriter, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ShardWriter, "_write", full)
    with pytest.raises(InputError, match=r"cannot write the cache .*: No space left.*set TMT_CACHE"):
        prepare(corpus, BYTES, tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []


def test_cache_that_cannot_be_a_folder(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write the cache"):
        prepare(corpus, BYTES, tmp_path / "file")


def test_empty_split_is_named(tmp_path: Path) -> None:
    corpus = SplitCorpus("mine", "k", {s: (lambda s=s: iter(["x"] if s != "test" else [])) for s in SPLITS})
    with pytest.raises(InputError, match="the test split of corpus 'mine' has no documents"):
        prepare(corpus, BYTES, tmp_path)


def test_concurrent_builders_agree(corpus: Corpus, tmp_path: Path) -> None:
    barrier = Barrier(4)

    def build(_: int) -> TokenSplits:
        barrier.wait()
        return prepare(corpus, BYTES, tmp_path)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(build, range(4)))
    assert all((result.train[:] == results[0].train[:]).all() for result in results)
    assert leftovers(tmp_path) == []
    assert len(list((tmp_path / "tokens").iterdir())) == 1


def test_nothing_is_printed(corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for spec in ("bytes", "bpe:300", "sp:330:nfkc"):
        prepare(corpus, make_tokenizer(spec, corpus, tmp_path), tmp_path)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""


def test_cache_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root("given") == Path("given")
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("TMT_CACHE")
    assert cache_root() == tmp_path / "xdg" / "tmt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "tmt"
