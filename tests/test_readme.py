"""What README.md tells people to type works.

Its ```sh and ```python blocks run in order in one folder. Lines that start with `tmt` or
`python scripts/` are run; others (make, pip, git, venv) are not. Each command is the printed one with
the options of SHORTER appended, which win over its own; a training command moreover reads a small file
in place of a corpus other than the embedded one, has size nano, and cuts bytes in place of a tokenizer
from the hub. `--resume` runs as printed, and a study file is replaced by one of a single step.
"""

import dataclasses
import re
import shlex
from pathlib import Path
from runpy import run_path

import pytest

from tmt.cli import COMMANDS, main

pytest_plugins = ["command_line"]

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHORT_TRAINING = [
    "--minutes=null", "--steps=2", "--batch-size=2", "--seq-len=128", "--set=train.eval_tokens=256",
    "--max-bytes=300000",
]  # fmt: skip
SHORTER = {
    "train": [*SHORT_TRAINING, "--preset=nano", "--set=model.d_model=48"],
    "eval": ["--limit=300"],
    "score": ["--limit=150", "--window=32", "--chunk=64"],
    "generate": ["--max-new-tokens=8"],
    "data": ["--max-bytes=300000"],
    "convert": ["--tokens=300"],
    "pack": ["--tokens=256", "--check=300", "--limit=null"],
    "tasks": ["--steps=2"],
    "bench": ["--seconds=0.01", "--lengths=32", "--batch-size=1"],
    "study": ["--slots=1"],
    "verify": ["--length=12", "--only=future,cached"],
}
STUDY = """
base: transformer
seeds: [1]
budget: {{steps: 1}}
train: {{preset: nano, data: {corpus}, tokenizer: bytes, batch_size: 1, seq_len: 64}}
runs: {{transformer: {{arch: transformer}}}}
evaluations: {{valid: {{split: valid, context: 64, limit: 64}}}}
"""


def commands(block: str) -> list[str]:
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith(("tmt ", "python scripts/"))]


def replaced(words: list[str], option: str, is_kept: str, value: str) -> list[str]:
    """`option value` to append unless the option is missing or its value matches `is_kept`."""
    given = re.search(rf"{option}[= ](\S+)", " ".join(words))
    return [f"{option}={value}"] if given and not re.fullmatch(is_kept, given[1]) else []


def run(line: str, corpus: Path) -> int:
    """Run one printed command, shortened."""
    program, name, *words = shlex.split(line, comments=True)
    if program == "python":
        script = run_path(name)
        small = [f"--dataset={corpus}", "--model_size=nano", "--tokenizer=bytes", *SHORT_TRAINING[1:]]
        return main(script["arguments_for_tmt"]([*words, *small]))
    shorter = SHORTER.get(name, [])
    if name == "train":
        shorter = [*shorter, *replaced(words, "--data", "sotu", str(corpus))]
        shorter += replaced(words, "--tokenizer", r"(?!hf:).*", "bytes")
    if name == "study":
        Path("study.yaml").write_text(STUDY.format(corpus=corpus), encoding="utf-8")
        words[0] = "study.yaml"
    return main([name, *words, *([] if "--resume" in words else shorter)])


def test_there_is_something_to_run():
    sh, python = ([text for language, text in BLOCKS if language == kind] for kind in ("sh", "python"))
    assert any(commands(block) for block in sh), "README.md has no ```sh block with a `tmt` command"
    assert python, "README.md has no ```python block"


@pytest.mark.learning
def test_it_works_as_printed(
    corpus: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tmt.adaptive.report.AUDIT_TOKENS", 270)  # three chunks
    for folder in ("recipes", "scripts"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
            continue
        for line in commands(block):
            code = run(line, corpus)
            captured = capsys.readouterr()
            assert code == 0, f"{line}\n{captured.err}"
            assert captured.out, line


def test_every_option_it_names_exists():
    spans = re.findall(r"`([^`\n]+)`", README)
    lines = [*(span for span in spans if span.startswith(("--", "tmt "))), *commands(README)]
    named = {flag for line in lines for flag in re.findall(r"--[a-z][\w-]*", line) if "scripts/" not in line}
    known = {f"--{field.name}" for options, _ in COMMANDS.values() for field in dataclasses.fields(options)}
    unknown = {flag for flag in named if flag.replace("-", "_").replace("__", "--", 1) not in known}
    assert unknown <= {"--config", "--help", "--version"}
