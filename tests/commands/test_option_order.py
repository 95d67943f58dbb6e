"""One order of options: preset, recipe, file, flags, --set; for every pair of them, field by field."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_train_option_fields import flat

from tmt.budget import BUDGETS
from tmt.cli import parse
from tmt.errors import InputError
from tmt.options.layers import NAMES, SECTIONS, merged
from tmt.options.train import TrainOptions, resolve

FIELDS: dict[str, tuple[str | None, list[Any]]] = {
    "train.batch_size": ("batch_size", [2, 3, 5, 6, 7, 9]),
    "train.seq_len": ("seq_len", [16, 17, 18, 19, 20, 21]),
    "train.seed": ("seed", [1, 2, 3, 4, 5, 6]),
    "train.precision": ("precision", ["fp32", "bf16", "fp32", "bf16", "fp32", "bf16"]),
    "train.minutes": ("minutes", [1.0, 2.0, 3.0, 4.0, 5.5, 6.0]),
    "train.eval_every": (None, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    "optim.lr": ("lr", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    "optim.weight_decay": (None, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    "model.dropout": (None, [0.11, 0.21, 0.31, 0.41, 0.51, 0.61]),
    "data.tokenizer": ("tokenizer", ["bytes", "bpe:300", "bpe:301", "bpe:302", "bpe:303", "bpe:304"]),
}
"""A dotted field, the option that sets it, and different values."""
PLACES = ["file option", "file section", "file set", "flag", "flag section", "flag set"]
"""In rising order."""


def written(places: dict[str, Any], field: str, option: str | None, file: Path) -> list[str]:
    """The command line, and the file, that give the field one value in each of the places."""
    section, name = field.split(".")
    content: dict[str, Any] = {}
    arguments = ["train", f"--config={file}"]
    for place, value in places.items():
        where, _, kind = place.partition(" ")
        if kind == "set":
            assignment = f"{field}={value}"
            content |= {"set": [assignment]} if where == "file" else {}
            arguments += [f"--set={assignment}"] if where == "flag" else []
        elif kind == "section":
            content |= {section: {name: value}} if where == "file" else {}
            arguments += [f"--{section}.{name}={value}"] if where == "flag" else []
        else:
            content |= {option: value} if where == "file" else {}
            arguments += [f"--{option}={value}"] if where == "flag" else []
    file.write_text(yaml.safe_dump(content or {"device": "cpu"}), encoding="utf-8")
    return arguments


def possible(field: str, option: str | None) -> list[str]:
    kinds = {"option": option, "flag": option, "section": field.split(".")[0] in SECTIONS, "set": True}
    return [place for place in PLACES if kinds[place.split()[-1]]]


def layers(places: dict[str, Any], field: str, option: str | None) -> list[dict[str, Any]]:
    """What a parser makes of the same."""
    section, name = field.split(".")
    found: dict[str, dict[str, Any]] = {"file": {}, "flag": {}}
    for place, value in places.items():
        where, _, kind = place.partition(" ")
        given = {"set": {"set": [f"{field}={value}"]}, "section": {section: {name: value}}}
        found[where] |= given.get(kind, {option: value})
    return [*found.values()]


@pytest.mark.parametrize("field", FIELDS)
def test_of_two_places_the_later_wins(field: str):
    option, values = FIELDS[field]
    for pair in combinations(possible(field, option), 2):
        places = dict(zip(pair, values, strict=False))
        assert merged({field: "below"}, layers(places, field, option))[field] == places[pair[1]], pair


@pytest.mark.parametrize("places", [*combinations(PLACES, 2)], ids=" and ".join)
def test_of_two_places_on_the_command_line_the_later_wins(places: tuple[str, str], tmp_path: Path):
    field, option = "train.batch_size", "batch_size"
    _, options, _ = parse(written(dict(zip(places, (2, 3), strict=True)), field, option, tmp_path / "r.yaml"))
    assert resolve(options, vocab_size=50).train.batch_size == 3


@pytest.mark.shows("TrainOptions", "train")
@pytest.mark.parametrize("field", FIELDS)
def test_all_places_at_once(field: str, tmp_path: Path):
    option, values = FIELDS[field]
    places = dict(zip(possible(field, option), values, strict=False))
    _, options, _ = parse(written(places, field, option, tmp_path / "recipe.yaml"))
    assert flat(resolve(options, vocab_size=50))[field] == list(places.values())[-1]


BELOW: dict[str, tuple[str, Any]] = {
    "model.dropout": ("--recipe=paper", 0.1),
    "optim.lr": ("--recipe=golf", 0.022),
    "optim.weight_decay": ("--recipe=golf", 0.095),
    "model.d_model": ("--preset=small", 256),
}


@pytest.mark.parametrize("field", BELOW)
@pytest.mark.parametrize("place", ["file section", "flag set"])
def test_every_place_beats_preset_and_recipe(field: str, place: str, tmp_path: Path):
    named, usual = BELOW[field]
    arguments = written({place: 64 if field.endswith("d_model") else 0.25}, field, None, tmp_path / "r.yaml")
    _, options, _ = parse([*arguments, named])
    assert flat(resolve(options, vocab_size=50))[field] in (64, 0.25)
    assert flat(resolve(parse(["train", named])[1], vocab_size=50))[field] == usual


def resolved(file: Path, content: str, *arguments: str) -> dict[str, Any]:
    file.write_text(content, encoding="utf-8")
    return flat(resolve(parse(["train", f"--config={file}", *arguments])[1], vocab_size=50))


def test_the_rate_of_a_flag_beats_that_of_a_file(tmp_path: Path):
    file = tmp_path / "r.yaml"
    config = resolved(file, "steps: 3\noptim: {lr: 0.5}\n", "--lr=0.1")
    assert (config["train.steps"], config["optim.lr"], config["optim.adamw_lr"]) == (3, 0.1, 3e-3)
    paper = resolved(file, "optim: {lr: 0.5, small_lr: 0.4}\n", "--lr=0.1", "--recipe=paper")
    assert [paper[f"optim.{name}"] for name in ("lr", "adamw_lr", "small_lr")] == [0.1, 0.1, 0.1]
    paper = resolved(file, "lr: 0.5\n", "--set=optim.adamw_lr=0.1", "--recipe=paper")
    assert [paper[f"optim.{name}"] for name in ("lr", "adamw_lr", "small_lr")] == [0.5, 0.1, 0.5]
    assert resolved(file, "lr: 0.5\n", "--lr=null")["optim.lr"] == 0.02
    assert resolved(file, "lr: 0.5\n", "--lr=null", "--recipe=golf")["optim.lr"] == 0.022


def test_later_files_beat_earlier_ones_whatever_their_form(tmp_path: Path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("set: [train.batch_size=2, train.seed=5]\noptim: {lr: 0.5, eps: 0.1}\n")
    second.write_text("batch_size: 16\nlr: 0.25\nset: [model.dropout=0.5]\n")
    _, options, _ = parse(["train", f"--config={first}", f"--config={second}"])
    config = flat(resolve(options, vocab_size=50))
    found = [
        config[name] for name in ("train.batch_size", "train.seed", "optim.lr", "optim.eps", "model.dropout")
    ]
    assert found == [16, 5, 0.25, 0.1, 0.5]


@pytest.mark.parametrize(("below", "above"), [("steps: 9", "--minutes=2"), ("minutes: 9", "--steps=2")])
def test_a_budget_takes_back_the_other_of_a_lower_layer(below: str, above: str, tmp_path: Path):
    config = resolved(tmp_path / "r.yaml", below, above)
    named = above.removeprefix("--").split("=")[0]
    assert {config[f"train.{name}"] for name in ("steps", "minutes")} == {2, None}
    assert config[f"train.{named}"] == 2
    with pytest.raises(InputError, match=r"give one of .*, not steps=9 and minutes=9"):
        resolved(tmp_path / "r.yaml", "steps: 9\nminutes: 9")


def test_options_made_in_python_are_one_layer():
    options = TrainOptions(steps=7, lr=0.5, optim={"eps": 0.1}, set=["optim.eps=0.2"])
    assert options.given == {"steps", "lr", "optim", "set"}
    assert merged({"optim.eps": 1, "optim.beta1": 2}, options.layers) == {
        "optim.eps": 0.2,
        "optim.beta1": 2,
        "optim.lr": 0.5,
        **{f"train.{name}": None for name in BUDGETS},
        "train.steps": 7,
    }


def test_every_field_has_one_name():
    assert len({*NAMES.values()}) == len(NAMES)
    config = flat(resolve(TrainOptions(), vocab_size=50))
    assert {*NAMES.values()} <= config.keys()
