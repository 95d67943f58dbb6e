"""Every mistake gives one line that names it and the way out, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_runs import Result, text_of
from tmt.errors import InputError
from tmt.model import build_model
from tmt.model.config import TMTConfig
from tmt.tokens import TokenStream
from tmt.tokens.loader import TokenLoader
from tmt.tokens.shards import write_shard

pytest_plugins = ["command_line"]

TRAINING = {
    "--preset=nan": ["unknown preset 'nan'", "nano"],
    "--arch=tranformer": ["unknown architecture 'tranformer'", "transformer"],
    "--data=sotuu": ["unknown corpus 'sotuu'", "sotu", "owner/name"],
    "--data=missing.txt": ["no such file or folder", "missing.txt"],
    "--tokenizer=byte": ["unknown tokenizer 'byte'", "bytes"],
    "--tokenizer=bpe:3": ["bpe:3", "[257, "],
    "--recipe=papr": ["unknown recipe 'papr'", "paper"],
    "--config=missing.yaml": ["missing.yaml", "No such file"],
    "--set=model.grph_k=3": ["unknown tmt model field 'grph_k'", "graph_k"],
    "--set=optim.decay=3": ["unknown optim field 'decay'", "weight_decay"],
    "--set=train.stepz=3": ["unknown train field 'stepz'", "steps"],
    "--set=text.source=sotu": ["unknown section of --set 'text'", "model, optim, train"],
    "--set=graph_k": ["--set 'graph_k'", "section.field=value"],
    "--set=model.graph_k=[": ["--set 'model.graph_k=['", "YAML"],
    "--set=model.graph_k=many": ["graph_k='many'", "int"],
    "--set=model.n_layers=4.5": ["n_layers='4.5'", "int"],
    "--set=model.decay=fast": ["unknown decay 'fast'", "data"],
    "--set=model.vocab_size=9": ["vocab_size", "--tokenizer"],
    "--set=model.d_model=33": ["d_model=33", "n_heads=2"],
    "--set=model.n_heads=32": ["n_heads=32", "odd width 1"],
    "--set=model.graph_k=-1": ["graph_k=-1", "negative"],
    "--set=model.graph_k=9999": ["graph_k=9999", "max_seq_len=8192"],
    "--set=model.local_window=0": ["local_window=0", "above zero"],
    "--set=model.local_window=9999": ["local_window=9999", "max_seq_len=8192"],
    "--set=model.max_seq_len=20": ["seq_len=32", "max_seq_len=20", "shorten"],
    "--set=model.target_depth=0.1": ["target_depth=0.1", "[0.5, 1]"],
    "--seq-len=9000": ["seq_len=9000", "max_seq_len=8192"],
    "--seq-len=5000": ["valid split", "too few for seq_len=5000", "shorter --seq-len"],
    "--steps=many": ["steps='many' is not of type int or null"],
    "--steps=0": ["steps=0", "above zero"],
    "--text-field=body": ["text_field=body", "has no rows", "leave it out"],
    "--minutes=1": ["give one of", "not steps=2 and minutes=1.0"],
    "--lr=-1": ["lr=-1.0", "above zero"],
    "--seed=-1": ["seed=-1"],
    "--max-bytes=100": ["too short", "more text"],
    "--device=toaster": ["device 'toaster'", "cuda"],
    "--init-from=nowhere": ["no run folder nowhere", "tmt train"],
    "--resume": ["no run folder", "tmt train"],
    "--stepz=3": ["--stepz"],
}  # fmt: skip


@pytest.mark.shows("TrainOptions", "device")
@pytest.mark.parametrize("argument", TRAINING)
def test_training_is_refused_before_it_begins(
    argument: str, train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    complaint = train(tmp_path / "run", "--steps=2", argument).complaint
    for part in TRAINING[argument]:
        assert part in complaint
    assert list(tmp_path.iterdir()) == []


FILES = {
    "empty": (b"", "holds no text"),
    "blank": (b" \n\n \n", "holds no text"),
    "binary": (b"MZ\0\x01\xff" * 200, "binary"),
    "latin1": ("Straße und Möhre. ".encode("latin1") * 50, "not UTF-8 (byte offset 4)"),
    "utf16": ("a text of some length, over and over. " * 50).encode("utf-16"),
    "short": (b"Three words only.", "too short"),
}
FILES["utf16"] = (FILES["utf16"], "iconv -f utf-16 -t utf-8")


@pytest.mark.parametrize("kind", FILES)
def test_unusable_texts(kind: str, train: Callable[..., Result], tmp_path: Path):
    file = tmp_path / f"{kind}.txt"
    content, reason = FILES[kind]
    file.write_bytes(content)
    complaint = train(tmp_path / "run", "--steps=2", f"--data={file}").complaint
    assert reason in complaint
    assert str(file) in complaint
    assert not (tmp_path / "run").exists()


def test_a_corpus_shorter_than_a_sequence(train: Callable[..., Result], tmp_path: Path):
    file = tmp_path / "short.txt"
    file.write_text(text_of(3), encoding="utf-8")
    complaint = train(tmp_path / "run", "--steps=2", f"--data={file}", "--seq-len=200").complaint
    assert "split of" in complaint
    assert "seq_len=200" in complaint
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(trained: Path, train: Callable[..., Result]):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    complaint = train(trained, "--steps=2").complaint
    assert all(part in complaint for part in (str(trained), "--resume", "--out"))
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_an_output_folder_that_cannot_be_made(train: Callable[..., Result], tmp_path: Path):
    (tmp_path / "file").write_text("")
    complaint = train(tmp_path / "file" / "run", "--steps=2").complaint
    assert "is no folder that can be written" in complaint


def test_weights_of_another_architecture(trained: Path, train: Callable[..., Result], tmp_path: Path):
    complaint = train(tmp_path / "run", "--steps=2", f"--init-from={trained}", arch="transformer").complaint
    assert f"--init-from {trained} brings its own arch: say --arch tmt, not transformer" in complaint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (["eval", "--context=9999"], ["context=9999", "8192"]),
        (["eval", "--split=tset"], ["unknown split 'tset'", "test"]),
        (["generate", "--prompt=a", "--max-new-tokens=8192"], ["8192", "max_seq_len=8192", "shorten"]),
        (["generate"], ["--prompt"]),
        (["inspect"], ["empty"]),
    ],
)
def test_use_beyond_what_a_model_can(
    command: list[str], parts: list[str], trained: Path, tmt: Callable[..., Result]
):
    complaint = tmt(command[0], trained, *command[1:], "--device=cpu").complaint
    assert all(part in complaint for part in parts)


@pytest.mark.parametrize("bad", [-1, 40])
def test_token_ids_outside_the_vocabulary(bad: int):
    config = TMTConfig(vocab_size=40, d_model=16, n_heads=2, n_layers=2, ffn_stream_dim=16)
    with pytest.raises(InputError, match=f"token id {bad} is outside the vocabulary of 40"):
        build_model("tmt", config)(torch.tensor([[1, bad, 2]]))


DAMAGED_SHARDS = {
    "magic": (lambda content: b"\0" + content[1:], "is not a token file"),
    "version": (lambda content: content[:4] + b"\x07" + content[5:], "has version 7"),
    "size": (lambda content: content[:-2], "bytes where its header promises"),
    "checksum": (lambda content: content[:1030] + b"\xff" + content[1031:], "wrong checksum"),
    "header": (lambda content: content[:100], "is not a token file"),
}


@pytest.mark.parametrize("damage", DAMAGED_SHARDS)
def test_damaged_token_files_are_named(damage: str, tmp_path: Path):
    spoil, reason = DAMAGED_SHARDS[damage]
    file = tmp_path / "tokens.bin"
    write_shard(file, np.arange(300, dtype=np.uint16), [0, 100])
    assert len(TokenStream.open(file)) == 300
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(InputError, match=reason) as error:
        TokenStream.open(file)
    assert str(file) in str(error.value)


def test_a_stream_shorter_than_one_sequence(tmp_path: Path):
    write_shard(tmp_path / "tokens.bin", np.arange(32, dtype=np.uint16))
    stream = TokenStream.open(tmp_path / "tokens.bin")
    with pytest.raises(InputError, match="32 tokens, but seq_len 32 needs at least 33; give more text"):
        TokenLoader(stream, batch_size=1, seq_len=32, seed=0)


TOKEN_FILES = {
    "--shards=full": ["full holds token files or a tokenizer already", "another folder"],
    "--shards=file/new": ["cannot write file/new"],
    "--tokenizer=bpe:70000": ["16 bits", "70000 ids", "at most 65536"],
    "--data=full": ["full holds no token file *_val_000000.bin"],
    "--data=bare --tokenizer=auto": ["bare holds token files, but neither", "--tokenizer"],
}


@pytest.mark.parametrize("arguments", TOKEN_FILES)
def test_token_files_that_cannot_be_written_or_read(
    arguments: str, corpus: Path, tmt: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for folder in ("full", "bare"):
        (tmp_path / folder).mkdir()
        write_shard(tmp_path / folder / "mesh_train_000000.bin", np.arange(200, dtype=np.uint16))
    (tmp_path / "full" / "tokenizer.json").write_text(json.dumps({"type": "tmt-bytes", "version": 1}))
    before = sorted(tmp_path.rglob("*"))
    defaults = (f"--data={corpus}", "--tokenizer=bytes", "--shards=new")
    complaint = tmt("data", *defaults, *arguments.split()).complaint
    for part in TOKEN_FILES[arguments]:
        assert part in complaint
    assert sorted(tmp_path.rglob("*")) == before
