import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result

pytest_plugins = ["command_line"]

Command = Callable[..., Result]
TINY = ["--small=150", "--tokens=200", "--check=64", "--device=cpu"]


@pytest.fixture(scope="module")
def artifacts() -> dict[str, Path]:
    return {}


@pytest.fixture
def artifact(
    runs: dict[str, str], tmt: Command, tmp_path_factory: pytest.TempPathFactory, artifacts: dict[str, Path]
) -> Callable[[str], Path]:
    """The packed run of a variant, made once."""

    def packed(variant: str) -> Path:
        if variant not in artifacts:
            path = tmp_path_factory.mktemp("packed") / f"{variant}.tmt"
            result = tmt("pack", runs[variant], "--out", path, *TINY)
            assert result.code == 0, result.err
            assert str(path) in result.out
            assert "limit 16,000,000" in result.out
            artifacts[variant] = path
        return artifacts[variant]

    return packed


@pytest.mark.parametrize("variant", ["plain", "transformer", "toeplitz"])
def test_every_command_takes_the_artifact(artifact: Callable[[str], Path], tmt: Command, variant: str):
    path = artifact(variant)
    scored = tmt("eval", path, "--context=32", "--limit=64", "--json", "--device=cpu")
    assert json.loads(scored.out)["tokens"] == 64
    written = tmt("generate", path, "--prompt=The", "--max-new-tokens=3", "--json", "--device=cpu")
    assert json.loads(written.out)["tokens"] == 3
    assert "rms_norm" in json.loads(tmt("inspect", path, "--ops", "--json", "--device=cpu").out)
    assert tmt("inspect", path, "--text=The mesh", "--json", "--device=cpu").code == 0


def test_operators_are_inspected_and_converted(artifact: Callable[[str], Path], tmt: Command):
    path = artifact("toeplitz")
    assert json.loads(tmt("inspect", path, "--operator", "--json").out.splitlines()[0])
    assert tmt("convert", path, "--rank=2", "--tokens=64", "--json").code == 0


def test_training_starts_from_an_artifact(
    artifact: Callable[[str], Path], tmt: Command, tmp_path: Path, corpus_file: Path
):
    path, out = artifact("plain"), tmp_path / "run"
    settings = [f"--data={corpus_file}", "--seq-len=32", "--batch-size=2", "--steps=1", "--device=cpu"]
    result = tmt("train", "--init-from", path, *settings, "--set=train.eval_tokens=64", "--out", out)
    assert result.code == 0, result.err
    assert f"init_from: {path}" in (out / "config.yaml").read_text()
    assert "--init-from" in tmt("train", "--out", path, "--resume").complaint


def test_an_unpacked_artifact_scores_the_same(artifact: Callable[[str], Path], tmt: Command, tmp_path: Path):
    path, folder = artifact("transformer"), tmp_path / "deep" / "again"
    assert tmt("unpack", path, "--out", folder).code == 0
    scores = [
        json.loads(tmt("eval", source, "--context=32", "--limit=64", "--json", "--device=cpu").out)["nats"]
        for source in (path, folder)
    ]
    assert scores[0] == scores[1]
    assert f"{folder} is not empty" in tmt("unpack", path, "--out", folder).complaint


def test_the_record_accounts_for_every_byte(runs: dict[str, str], tmt: Command, tmp_path: Path):
    path = tmp_path / "model.tmt"
    record = json.loads(tmt("pack", runs["plain"], "--out", path, "--json", *TINY).out)
    assert record["artifact_bytes"] == path.stat().st_size
    assert record["bytes"] == record["artifact_bytes"] + record["code_bytes"]
    assert sum(record["sections"].values()) < record["artifact_bytes"]
    assert record["codec"] == "brotli"
    assert record["tensors"]["steps"] == {"kind": "int64", "error": 0.0}
    assert abs(record["bpb_after"] - record["bpb_before"]) < 1
    compressed = tmt("pack", runs["plain"], "--code=compressed", "--json", *TINY)
    assert json.loads(compressed.out)["code_bytes"] < record["code_bytes"]


def test_above_the_limit_nothing_is_written(runs: dict[str, str], tmt: Command, tmp_path: Path):
    path = tmp_path / "model.tmt"
    first = json.loads(tmt("pack", runs["plain"], "--json", *TINY).out)
    for limit, code in ((first["bytes"] - 1, 2), (first["bytes"], 0), (first["bytes"] + 1, 0)):
        result = tmt("pack", runs["plain"], "--out", path, f"--limit={limit}", *TINY)
        assert result.code == code
        assert path.exists() == (code == 0)
        if code:
            assert f"{first['artifact_bytes']:,} artifact + {first['code_bytes']:,} code" in result.err
            assert "by 1; --clip" in result.err


def test_fitting_from_the_command_line(runs: dict[str, str], tmt: Command):
    first = json.loads(tmt("pack", runs["plain"], "--json", *TINY).out)
    limit = first["bytes"] - 500
    result = tmt("pack", runs["plain"], f"--limit={limit}", "--fit", "--json", *TINY)
    record = json.loads(result.out)
    assert record["bytes"] <= limit
    assert record["settings"]["clip"] > 12.85
    assert "nats a token on training text" in result.err


MISTAKES = {
    "--bits=9": "bits=9 must be in [3, 8]",
    "--bits=3": "clip=12.85 must be above zero and, with bits=3, at most 6",
    "--tokens=0": "tokens=0",
    "--clip=0": "clip=0.0",
    "--out=.": "is a folder; name a file",
    "--limit=9": "the code alone is more; --code compressed",
    "--unguided=drop": "unguided",
    "--device=toaster": "toaster",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(runs: dict[str, str], tmt: Command, mistake: str):
    assert MISTAKES[mistake] in tmt("pack", runs["plain"], *TINY[:-1], "--device=cpu", mistake).complaint


def test_a_file_that_cannot_be_written_is_refused_first(runs: dict[str, str], tmt: Command, tmp_path: Path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "model.tmt"
    assert f"cannot write {out}" in tmt("pack", runs["plain"], f"--out={out}").complaint
    assert "is a folder" in tmt("pack", runs["plain"], f"--out={tmp_path}").complaint


def test_missing_folders_are_made(runs: dict[str, str], tmt: Command, tmp_path: Path):
    out = tmp_path / "no" / "such" / "model.tmt"
    assert tmt("pack", runs["plain"], f"--out={out}", "--tokens=64", "--check=0", "--device=cpu").code == 0
    assert out.is_file()


def test_fitting_needs_a_limit(runs: dict[str, str], tmt: Command):
    assert "--fit needs a --limit" in tmt("pack", runs["plain"], "--fit", "--limit=null").complaint


def test_a_damaged_artifact_is_one_line(artifact: Callable[[str], Path], tmt: Command, tmp_path: Path):
    cut = tmp_path / "cut.tmt"
    cut.write_bytes(artifact("plain").read_bytes()[:-100])
    for command in (["eval"], ["generate", "--prompt=a"], ["inspect", "--text=a"], ["unpack"]):
        complaint = tmt(command[0], cut, *command[1:]).complaint
        assert f"{cut} is truncated" in complaint
