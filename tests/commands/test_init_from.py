"""What `--init-from` inherits, and what it refuses because it would not change it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tiny_runs import Result
from tmt.cli import parse
from tmt.errors import InputError
from tmt.options.train import resolve
from tmt.run_folder import load_config

pytest_plugins = ["command_line"]


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--tokenizer=bpe:300", "brings its own tokenizer: say --tokenizer bytes, not bpe:300"),
        ("--set=data.tokenizer=bpe:300", "brings its own tokenizer: say --tokenizer bytes, not bpe:300"),
        ("--preset=large", "brings its own preset: say --preset nano, not large"),
        ("--arch=golf", "brings its own arch: say --arch tmt, not golf"),
        ("--set=model.vocab_size=7", "model.vocab_size comes from the tokenizer"),
    ],
)
def test_what_would_be_ignored_is_refused(
    option: str, complaint: str, trained: Path, corpus: Path, tmt: Callable[..., Result], tmp_path: Path
):
    arguments = [f"--init-from={trained}", "--steps=1", f"--data={corpus}", f"--out={tmp_path / 'x'}"]
    assert complaint in tmt("train", *arguments, option).complaint
    assert not (tmp_path / "x").exists()


def test_a_file_is_held_to_the_same(trained: Path, tmp_path: Path):
    file = tmp_path / "r.yaml"
    file.write_text("tokenizer: bpe:300\n")
    _, options, _ = parse(["train", f"--config={file}", f"--init-from={trained}"])
    with pytest.raises(InputError, match="brings its own tokenizer"):
        resolve(options, vocab_size=257)


def start(trained: Path, *arguments: str):
    return resolve(parse(["train", f"--init-from={trained}", *arguments])[1], vocab_size=257)


def test_preset_and_tokenizer_are_inherited_and_may_be_named(trained: Path):
    large = replace(load_config(trained), preset="large")
    large.save(trained)
    for arguments in ([], ["--preset=large"], ["--tokenizer=bytes"], ["--tokenizer=auto"]):
        config = start(trained, *arguments)
        assert (config.preset, config.data.tokenizer, config.model) == ("large", "bytes", large.model)
    assert parse(["train", f"--init-from={trained}"])[1].folder == Path("runs/tmt-large")


def test_a_recipe_that_is_named_changes_what_it_sets_of_the_model(trained: Path):
    own = load_config(trained)
    replace(own, model=replace(own.model, dropout=0.25)).save(trained)
    assert start(trained).model.dropout == 0.25
    paper = start(trained, "--recipe=paper")
    assert (paper.recipe, paper.model.dropout, paper.optim.optimizer) == ("paper", 0.1, "adamw")
    assert start(trained, "--recipe=paper", "--set=model.dropout=0.5").model.dropout == 0.5
