"""The published training command, under its published flags."""

import re
from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import pytest

from tiny_runs import SHORT, Result
from tmt.checkpoint import load_run
from tmt.cli import parse
from tmt.options.train import TrainOptions, resolve
from tmt.run_folder import load_config

pytest_plugins = ["command_line"]

SCRIPT = run_path(str(Path(__file__).parents[1] / "scripts" / "train.py"))
PUBLISHED = (
    "--dataset wikitext-2 --model_size base --steps 10000 --lr 3e-4 --batch_size 16 --seq_len 256 "
    "--exit_threshold 0.85 --graph_k 8"
)


def options_for(arguments: str) -> TrainOptions:
    name, options, _ = parse(SCRIPT["arguments_for_tmt"](arguments.split()))
    assert name == "train"
    return options


SPELLINGS = {
    "published": PUBLISHED,
    "hyphens": re.sub(r"(\w)_(\w)", r"\1-\2", PUBLISHED),
    "equals signs": re.sub(r"(--\w+) ", r"\1=", PUBLISHED),
    "defaults": "",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_published_command_line(spelling: str):
    options = options_for(SPELLINGS[spelling])
    assert (options.arch, options.preset, options.data) == ("tmt", "base", "wikitext-2")
    assert (options.steps, options.batch_size, options.seq_len, options.lr) == (10000, 16, 256, 3e-4)
    assert options.tokenizer == "hf:openai-community/gpt2"
    config = resolve(options, vocab_size=50257)
    assert (config.model.exit_threshold, config.model.graph_k, config.model.target_depth) == (0.85, 8, None)
    assert (config.optim.optimizer, config.optim.lr, config.optim.adamw_lr) == ("adamw", 3e-4, 3e-4)
    assert (config.train.steps, config.train.minutes) == (10000, None)


def test_every_flag_is_passed_on():
    options = options_for(
        "--dataset c4 --model_size nano --steps 5 --lr 1e-3 --batch_size 2 --seq_len 32 --exit_threshold 0.5 "
        "--graph_k 3 --tokenizer bytes --recipe modern --seed 7 --out x --set model.n_layers=5"
    )
    assert (options.data, options.preset, options.steps, options.lr) == ("c4", "nano", 5, 1e-3)
    assert (options.batch_size, options.seq_len, options.tokenizer, options.recipe) == (
        2,
        32,
        "bytes",
        "modern",
    )
    assert (options.seed, options.out) == (7, Path("x"))
    model = resolve(options, vocab_size=300).model
    assert (model.exit_threshold, model.graph_k, model.n_layers) == (0.5, 3, 5)


def test_a_real_run(corpus: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "run"
    arguments = [
        "--dataset",
        str(corpus),
        "--model-size",
        "nano",
        "--steps",
        "2",
        "--graph-k",
        "3",
        "--lr=0.01",
    ]
    small = ["--set=model.d_model=32", "--set=model.n_heads=2", "--set=model.ffn_stream_dim=32"]
    assert SCRIPT["main"](SCRIPT["arguments_for_tmt"]([*arguments, *small, *SHORT, f"--out={folder}"])) == 0
    assert "bits/byte" in capsys.readouterr().out
    config = load_config(folder)
    assert (config.model.graph_k, config.optim.lr, config.recipe) == (3, 0.01, "paper")
    assert load_run(folder).model.param_count() > 10_000


def test_mistakes_are_one_line(tmt: Callable[..., Result]):
    complaint = tmt(*SCRIPT["arguments_for_tmt"](["--model_size=bse"])).complaint
    assert complaint == "unknown preset 'bse'; did you mean base?"
