"""Every option of `tmt train` arrives where it belongs, alone, and beats what the recipe or preset says."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tmt.cli import parse
from tmt.config import RunConfig
from tmt.options.train import TrainOptions, resolve

ARRIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "arch": ("--arch=golf", {"arch": "golf", "model.loop_passes": 3}),
    "preset": ("--preset=small", {"preset": "small", "model.d_model": 256}),
    "data": ("--data=my.txt", {"data.source": "my.txt"}),
    "text_field": ("--text-field=body", {"data.text_field": "body"}),
    "max_bytes": ("--max-bytes=77", {"data.max_bytes": 77}),
    "separator": ("--separator=<|endoftext|>", {"data.separator": "<|endoftext|>"}),
    "on_bad_row": ("--on-bad-row=skip", {"data.on_bad_row": "skip"}),
    "follow_links": ("--follow-links", {"data.follow_links": True}),
    "tokenizer": ("--tokenizer=bytes", {"data.tokenizer": "bytes"}),
    "steps": ("--steps=7", {"train.steps": 7, "train.minutes": None}),
    "minutes": ("--minutes=0.5", {"train.minutes": 0.5, "train.steps": None}),
    "batch_size": ("--batch-size=3", {"train.batch_size": 3}),
    "seq_len": ("--seq-len=33", {"train.seq_len": 33}),
    "accumulate": ("--accumulate=5", {"train.accumulate": 5}),
    "recipe": ("--recipe=paper", {"recipe": "paper", "optim.optimizer": "adamw", "model.dropout": 0.1}),
    "lr": ("--lr=0.7", {"optim.lr": 0.7}),
    "seed": ("--seed=9", {"train.seed": 9}),
    "precision": ("--precision=fp32", {"train.precision": "fp32"}),
    "set": ("--set=model.graph_k=5", {"model.graph_k": 5}),
}


def flat(config: RunConfig) -> dict[str, Any]:
    """Values by dotted name."""
    found: dict[str, Any] = {}
    for name, value in vars(config).items():
        parts = vars(value).items() if dataclasses.is_dataclass(value) else [("", value)]
        found |= {f"{name}.{part}".rstrip("."): inner for part, inner in parts}
    return found


@pytest.mark.shows("TrainOptions", "arch", "preset", "data", "text_field", "max_bytes", "tokenizer", "steps")
@pytest.mark.shows("TrainOptions", "minutes", "batch_size", "seq_len", "accumulate", "recipe", "lr", "seed")
@pytest.mark.shows("TrainOptions", "precision", "set", "separator", "on_bad_row", "follow_links")
@pytest.mark.parametrize("option", ARRIVES)
def test_an_option_arrives(option: str):
    argument, expected = ARRIVES[option]
    _, options, given = parse(["train", argument])
    assert given == {option}
    config, usual = flat(resolve(options, vocab_size=50)), flat(resolve(TrainOptions(), vocab_size=50))
    assert {name: config[name] for name in expected} == expected
    if option not in ("arch", "preset", "recipe"):
        changed = {name for name in usual if config.get(name) != usual[name]}
        assert changed <= {*expected, "train.minutes"}


@pytest.mark.shows("TrainOptions", "model", "optim")
def test_the_sections_of_a_recipe_file_arrive(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model:\n  graph_k: 3\noptim:\n  beta1: 0.5\n", encoding="utf-8")
    _, options, _ = parse(["train", f"--config={recipe}"])
    config = resolve(options, vocab_size=50)
    assert (config.model.graph_k, config.optim.beta1) == (3, 0.5)
