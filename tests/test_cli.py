"""The command line itself: how options are written, what wins, what it answers with."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tmt as package
from tiny_runs import Result
from tmt.cli import COMMANDS, main, parse
from tmt.errors import InputError
from tmt.options.train import TrainOptions, resolve

pytest_plugins = ["command_line"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-size", "3", "--seq-len=64", "--init-from", "a-b_c"],
        ["--batch_size=3", "--seq_len", "64", "--init_from=a-b_c"],
    ],
)
def test_hyphens_and_underscores_are_the_same(arguments: list[str]):
    name, options, given = parse(["train", *arguments])
    assert name == "train"
    assert (options.batch_size, options.seq_len, options.init_from) == (3, 64, Path("a-b_c"))
    assert given == {"batch_size", "seq_len", "init_from"}


@pytest.mark.parametrize(
    ("arguments", "resume", "steps"),
    [
        (["--resume", "--steps=3"], True, 3),
        (["--steps=3", "--resume"], True, 3),
        (["--resume=false", "--steps", "3"], False, 3),
        (["--steps", "3"], False, 3),
    ],
)
def test_switches_need_no_value(arguments: list[str], resume: bool, steps: int):
    _, options, _ = parse(["train", *arguments])
    assert (options.resume, options.steps) == (resume, steps)


PROMPTS = [
    "We the",
    "[a, b]",
    "null",
    "5",
    "",
    "-5",
    "a=b",
    "{x: 1}",
    "# no",
    "naïve 漢 😀",
    'q"\\\n\t\x7f\x85\u2028',
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_repeated_options_add_up_and_are_taken_as_they_stand(prompt: str):
    _, options, _ = parse(["generate", "run", "--prompt", prompt, f"--prompt={prompt}", "--prompt", "end"])
    assert options.prompt == [prompt, prompt, "end"]
    assert options.run == "run"


def test_an_option_after_a_repeated_one_is_no_value_of_it():
    _, options, _ = parse(["generate", "--prompt=a", "run", "--json"])
    assert (options.prompt, options.run, options.json) == (["a"], "run", True)
    with pytest.raises(InputError, match="--prompt"):
        parse(["generate", "run", "--prompt", "--json"])


RECIPE = """
arch: transformer
steps: 100
seq_len: 64
set: [optim.lr=0.5]
model: {dropout: 0.3, n_layers: 3}
optim: {momentum: 0.8, lr: 0.1}
"""


@pytest.mark.parametrize("first", [True, False])
def test_a_recipe_yields_to_flags_and_both_to_set(first: bool, tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    flags = ["--steps=7", "--lr=0.25", "--set=model.dropout=0.2", "--set", "train.seq_len=32"]
    config = [["--config", str(recipe)], [f"--config={recipe}"]][first]
    _, options, given = parse(["train", *(config + flags if first else flags + config)])
    assert given >= {"arch", "steps", "seq_len", "lr", "set", "model", "optim"}
    assert options.set == ["optim.lr=0.5", "model.dropout=0.2", "train.seq_len=32"]
    run = resolve(options, vocab_size=300)
    assert (run.arch, run.train.steps, run.train.seq_len) == ("transformer", 7, 32)
    assert (run.model.dropout, run.model.n_layers, run.model.vocab_size) == (0.2, 3, 300)
    assert (run.optim.momentum, run.optim.lr) == (0.8, 0.25)


def test_flags_beat_the_recipe_named_modern_or_paper():
    def resolved(*arguments: str):
        return resolve(parse(["train", *arguments])[1], vocab_size=300)

    paper = resolved("--recipe=paper", "--steps=9")
    assert (paper.optim.optimizer, paper.optim.lr, paper.optim.adamw_lr, paper.optim.ema_decay) == (
        "adamw", 3e-4, 3e-4, 0.0,
    )  # fmt: skip
    assert paper.model.dropout == 0.1
    changed = resolved("--recipe=paper", "--lr=0.01", "--set=model.dropout=0.4", "--set=optim.ema_decay=0.5")
    assert (changed.optim.lr, changed.optim.adamw_lr, changed.optim.ema_decay) == (0.01, 0.01, 0.5)
    assert changed.model.dropout == 0.4
    modern = resolved("--lr=0.01")
    assert (modern.optim.lr, modern.optim.adamw_lr, modern.model.dropout) == (0.01, 3e-3, 0.0)
    assert (modern.train.minutes, modern.train.steps) == (5.0, None)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    printed = capsys.readouterr().out
    assert exit_info.value.code == 0
    options = COMMANDS[command][0]
    assert options.__doc__ in " ".join(printed.split())
    for field in dataclasses.fields(options):
        required = field.default is field.default_factory is dataclasses.MISSING
        assert (field.name if required else f"--{field.name}") in printed
    assert "--config" in printed


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "300")
    for command, (options, _) in COMMANDS.items():
        with pytest.raises(SystemExit):
            main([command, "--help"])
        printed = " ".join(capsys.readouterr().out.split())
        for field in dataclasses.fields(options):
            explanation = printed.split(f"--{field.name} ")[-1].split(" (")[0]
            assert len(explanation.split()) > 2, (command, field.name)


def test_the_program_lists_its_commands(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["train", "eval"]),
        (["trian"], ["trian", "train"]),
        (["--steps=3"], []),
        (["train", "--stepz=3"], ["--stepz"]),
        (["train", "sotu"], ["sotu"]),
        (["train", "--seed=x"], ["seed='x' is not of type int"]),
        (["train", "--resume=perhaps"], ["resume='perhaps' is not of type bool"]),
        (["train", "--precision=fp16"], ["unknown precision 'fp16'", "fp32"]),
        (["train", "--steps"], ["--steps"]),
        (["eval"], ["run"]),
        (["data", "--json", "--text=x"], ["--text"]),
        (["tokenizer", "--text=\udcff"], ["UTF-8"]),
    ],
)
def test_a_bad_command_line_is_one_line(arguments: list[str], parts: list[str], tmt: Callable[..., Result]):
    complaint = tmt(*arguments).complaint
    assert all(part in complaint for part in parts)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("steps: [", "config"),
        ("steps: \udcff", "utf-8"),
        ("three steps", "holds no options"),
        ("", "holds no options"),
        ("stepz: 3", "stepz"),
        ("steps: many", "steps='many' is not of type int"),
        ("- 3", ""),
    ],
)
def test_a_bad_recipe_file_is_one_line(content: str, part: str, tmt: Callable[..., Result], tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert part in tmt("train", f"--config={recipe}", f"--out={tmp_path / 'run'}").complaint
    assert not (tmp_path / "run").exists()


def test_ctrl_c_is_130(tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    def interrupted(options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tmt.commands.data.data", interrupted)
    assert tmt("data").code == 130


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(options) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tmt.commands.data.data", broken)
    with pytest.raises(ZeroDivisionError):
        main(["data"])


def test_json_commands_write_nothing_else_to_stdout(trained: Path, corpus: Path, tmt: Callable[..., Result]):
    for command in (
        ["eval", trained, "--device=cpu", "--limit=64"],
        ["generate", trained, "--device=cpu", "--prompt=a", "--prompt=b", "--max-new-tokens=3"],
        ["inspect", trained, "--device=cpu", "--text=a mesh"],
        ["data", f"--data={corpus}", "--tokenizer=bpe:300"],
        ["tokenizer", f"--data={corpus}", "--tokenizer=bpe:301"],
    ):
        result = tmt(*command, "--json")
        assert result.code == 0
        lines = result.out.splitlines()
        assert lines
        assert all(isinstance(json.loads(line), dict) for line in lines)


def test_training_says_its_results_on_stdout_and_the_rest_on_stderr(
    train: Callable[..., Result], tmp_path: Path
):
    result = train(tmp_path / "run", "--steps=2")
    assert "bits/byte" in result.out
    assert f"run folder: {tmp_path / 'run'}" in result.out
    assert "parameters" not in result.out
    assert "nats/token on validation" in result.err


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tmt", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ},
        timeout=120,
    )


def test_the_real_entry_point():
    assert in_a_process("--version").stdout.split()[-1] == package.__version__
    wrong = in_a_process("train", "--arch=tnt")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "tmt: error: unknown architecture 'tnt'; did you mean tmt? (your own: a file.py)\n"


def test_a_reader_that_leaves_is_no_error(corpus: Path, cache: Path):
    writer = f"{sys.executable} -m tmt tokenizer --tokenizer=bytes --data={corpus} --text='{'a ' * 40_000}'"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {writer} --json | head -c 5"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == '{"voc'
    assert result.stderr == ""


def test_the_default_folder_is_named_after_the_model():
    assert TrainOptions(arch="transformer", preset="small").folder == Path("runs/transformer-small")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["train", "--stpes", "3"], "unknown option of tmt train '--stpes'; did you mean --steps"),
        (
            ["eval", "run", "--btach-size=3"],
            "unknown option of tmt eval '--btach-size'; did you mean --batch-size",
        ),
        (["data", "--zzz"], "unknown option of tmt data '--zzz'; known: "),
    ],
)
def test_a_mistyped_name_gets_the_nearest(typed: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert main(typed) == 2
    assert capsys.readouterr().err.startswith(f"tmt: error: {said}")
