"""Any locale serves: files are read and written in a named encoding, and nothing printed can fail."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiny_runs import options_of
from tmt.cli import COMMANDS

pytest_plugins = ["command_line"]

ROOT = Path(__file__).parents[1]
FILES = sorted(file for folder in ("src", "scripts", "benchmarks") for file in (ROOT / folder).rglob("*.py"))

OURS = ("data.open", "config.open", "DataConfig().open")
"""Configurations, which open a corpus."""

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Where Python takes ASCII for everything: arguments, names and contents of files, and output."""

RUN = """
import json, os, sys, warnings
from tmt.cli import main
warnings.filterwarnings("ignore", category=EncodingWarning)
warnings.filterwarnings("error", category=EncodingWarning, module=r"tmt(\\.|$)")
for arguments in json.load(sys.stdin):
    try:
        code = main([os.fsdecode(argument.encode()) for argument in arguments])
    except SystemExit as end:
        code = end.code
    print("exit code", code, flush=True)
"""


def nameless(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that open text in the encoding of the locale."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and not {"encoding", None} & {keyword.arg for keyword in call.keywords}:
            called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            opens = called in ("read_text", "write_text") or (called == "open" and _opens_text(call))
            if opens or (_reads_text(call) and ast.unparse(call.func).startswith("subprocess.")):
                yield call


def _opens_text(call: ast.Call) -> bool:
    """`open` and `path.open`, not binary; `Shard.open(path)` and `data.open()` are our own."""
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] or call.args
    literal = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    if literal:
        return "b" not in str(literal)
    name = ast.unparse(call.func)
    return name == "open" or not (call.args or name.endswith(OURS))


def _reads_text(call: ast.Call) -> bool:
    return bool({"text", "universal_newlines"} & {keyword.arg for keyword in call.keywords})


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", True),
        ("path.write_text(a)", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.open()", True),
        ("path.open('a')", True),
        ("path.open(mode='w', newline='')", True),
        ("path.open('rb')", False),
        ("open(name)", True),
        ("open(name, 'w')", True),
        ("gzip.open(path, 'rt')", True),
        ("gzip.open(path, 'rb')", False),
        ("config.data.open()", False),
        ("Shard.open(path)", False),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command, text=True, encoding='utf-8')", False),
        ("subprocess.run(command)", False),
        ("run(**options)", False),
    ],
)
def test_what_is_looked_for(source: str, found: bool):
    assert bool([*nameless(ast.parse(source))]) == found


def test_every_file_is_opened_in_a_named_encoding():
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
    assert [f"{file}:{call.lineno}" for file, tree in trees.items() for call in nameless(tree)] == []


@pytest.mark.slow
def test_every_command_answers_where_all_is_ascii(trained: Path, corpus: Path, cache: Path, tmp_path: Path):
    data = tmp_path / "mésh.txt"
    data.write_bytes(corpus.read_bytes())
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("prompt: [naïve 漢]", encoding="utf-8")
    small = ["--device=cpu", "--limit=64"]
    new, packed, unpacked = (str(tmp_path / name) for name in ("run", "run.tmt", "unpacked"))
    done = [
        ["train", *options_of("toeplitz", data, Path(new)), "--steps=1"],
        ["eval", str(trained), *small],
        ["eval", new, *small],
        ["score", str(trained), *small, "--window=16", "--chunk=64"],
        ["generate", str(trained), "--device=cpu", "--max-new-tokens=20", "--prompt=naïve"],
        ["generate", str(trained), "--device=cpu", "--max-new-tokens=2", f"--config={recipe}", "--prompt=😀"],
        ["inspect", str(trained), "--device=cpu", "--text=naïve 漢"],
        ["convert", new, "--rank=2,4", "--tokens=64"],
        ["pack", str(trained), "--device=cpu", f"--out={packed}", "--tokens=64", "--check=0"],
        ["unpack", packed, f"--out={unpacked}"],
        ["data", f"--data={data}", "--tokenizer=bytes"],
        ["tokenizer", f"--data={data}", "--tokenizer=bytes", "--text=naïve 漢"],
        ["tasks", "list"],
        *([command, "--help"] for command in COMMANDS),
    ]
    refused = [
        ["train", "--data=nïemand.txt"],
        ["train", f"--config={data}"],
        ["train", "--out=naïve", "--steps=1"],
        ["generate", "nïemand", "--prompt=a"],
        ["bench", "nïemand"],
    ]
    result = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", RUN],
        input=json.dumps(done + refused).encode(),
        capture_output=True,
        env=os.environ | C_LOCALE,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr.decode()
    printed = result.stdout.decode("ascii")
    codes = [int(code) for code in re.findall(r"^exit code (\d+)$", printed, re.MULTILINE)]
    assert codes == [0] * len(done) + [2] * len(refused), result.stderr.decode()
    assert "na\\xefve" in printed
    complaints = [
        line for line in result.stderr.decode("ascii").splitlines() if line.startswith("tmt: error")
    ]
    assert len(complaints) == len(refused)
    assert "PYTHONUTF8=1" in complaints[2]
