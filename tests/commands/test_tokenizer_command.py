"""`tmt tokenizer`: train one, show its cuts, keep it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result
from tmt.tokens import load_tokenizer

pytest_plugins = ["command_line"]

TEXT = "the mesh, naïve 漢!"


@pytest.mark.parametrize("spec", ["bytes", "bpe:300", "sp:300"])
def test_json_shows_every_piece(spec: str, corpus: Path, tmt: Callable[..., Result]):
    result = tmt("tokenizer", f"--tokenizer={spec}", f"--data={corpus}", f"--text={TEXT}", "--json")
    record = json.loads(result.out)
    assert record.keys() == {"vocab_size", "ids", "pieces", "key", "bytes", "spelt_bytes"}
    assert record["bytes"] == record["spelt_bytes"] == len(TEXT.encode())
    assert record["vocab_size"] in (256, 257, 300)
    assert len(record["ids"]) == len(record["pieces"])
    assert all(0 <= token < record["vocab_size"] for token in record["ids"])
    if spec == "bytes":
        assert record["ids"] == list(TEXT.encode())
    else:
        assert len(record["ids"]) < len(TEXT.encode())


def test_lines(corpus: Path, tmt: Callable[..., Result]):
    printed = tmt("tokenizer", "--tokenizer=bytes", f"--data={corpus}", "--text=ab").out
    assert printed == "bytes: 257 ids\n'a':97 'b':98\n"


def test_a_text_that_is_rewritten(corpus: Path, tmt: Callable[..., Result]):
    printed = tmt("tokenizer", "--tokenizer=sp:300:nfkc", f"--data={corpus}", "--text=the  mesh").out
    assert "it spells 8 of the 9 bytes of the text" in printed


@pytest.mark.parametrize("spec", ["bytes", "bpe:300", "sp:300"])
def test_it_is_kept_and_can_be_used(spec: str, corpus: Path, tmt: Callable[..., Result], tmp_path: Path):
    folder = tmp_path / "deep" / "kept"
    arguments = (f"--data={corpus}", f"--text={TEXT}", "--json")
    made = json.loads(tmt("tokenizer", f"--tokenizer={spec}", *arguments, f"--out={folder}").out)
    assert load_tokenizer(folder).encode(TEXT) == made["ids"]
    assert json.loads(tmt("tokenizer", f"--tokenizer={folder}", *arguments).out) == made


def test_a_folder_that_cannot_be_written(corpus: Path, tmt: Callable[..., Result], tmp_path: Path):
    (tmp_path / "file").write_text("")
    complaint = tmt(
        "tokenizer", f"--data={corpus}", "--tokenizer=bytes", f"--out={tmp_path / 'file'}"
    ).complaint
    assert f"cannot write {tmp_path / 'file'}" in complaint
