"""The configuration of a run: written and read back, changed field by field, refused where it is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmt.config import DataConfig, OptimConfig, RunConfig, TrainConfig, build
from tmt.errors import InputError
from tmt.model.config import TMTConfig
from tmt.model.transformer import TransformerConfig
from tmt.overrides import parse_overrides
from tmt.run_folder import load_config


def run_config(model: Any = None, **changes: Any) -> RunConfig:
    whole = RunConfig(
        arch="tmt",
        preset="nano",
        recipe="modern",
        model=model or TMTConfig.preset("nano", dense_layers=(1, 3), target_depth=0.75),
        data=DataConfig(source="a folder/with: colons #and more", max_bytes=1000),
        optim=OptimConfig(lr=1e-7, beta1=0.0),
        train=TrainConfig(minutes=0.25, seed=0),
    )
    return replace(whole, **changes)


@pytest.mark.parametrize(
    "config",
    [
        run_config(),
        run_config(TransformerConfig.preset("nano"), arch="transformer", init_from="näme/of run"),
        run_config(data=DataConfig(source="null", tokenizer="1e3", text_field="true")),
        run_config(train=TrainConfig(steps=7, eval_every=1.0)),
    ],
)
def test_it_comes_back_from_its_file(config: RunConfig, tmp_path: Path):
    config.save(tmp_path)
    assert load_config(tmp_path) == config


@given(st.floats(1e-12, 1e6), st.floats(0, 0.999), st.integers(0, 2**31))
def test_numbers_come_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, lr: float, beta: float, seed: int
):
    config = run_config(optim=OptimConfig(lr=lr, beta2=beta), train=TrainConfig(steps=1, seed=seed))
    folder = tmp_path_factory.getbasetemp()
    config.save(folder)
    assert load_config(folder) == config


def test_the_file_is_for_people_and_says_its_format(tmp_path: Path):
    run_config().save(tmp_path)
    lines = (tmp_path / "config.yaml").read_text().splitlines()
    assert lines[0] == "format: 1"
    assert "arch: tmt" in lines
    assert "  d_model: 192" in lines


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("3e-4", 3e-4), ("null", None), ("true", True), ("[1, 2]", [1, 2]), ("random", "random"),
     ("'12'", "12"), ("a=b", "a=b"), ("", None)],
)  # fmt: skip
def test_values_of_overrides(text: str, value: Any):
    assert parse_overrides([f"model.x={text}"]) == {"model.x": value}


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 2_000, "a: b: c"])
def test_a_value_that_cannot_be_read_is_one_line(text: str):
    with pytest.raises(InputError, match="the value is neither JSON nor YAML"):
        parse_overrides([f"model.x={text}"])


def test_the_last_override_wins_in_its_own_section():
    fields = parse_overrides(["model.x=1", "optim.x=2", "model.x=3", "train.y=4", "data.z=a"])
    assert fields == {"model.x": 3, "optim.x": 2, "train.y": 4, "data.z": "a"}


@pytest.mark.parametrize("assignment", ["graph_k=3", "model.=3", "model.graph_k", "=3", ""])
def test_malformed_overrides(assignment: str):
    with pytest.raises(InputError, match=r"section\.field=value"):
        parse_overrides([assignment])


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        *[(OptimConfig, name, 0.0) for name in ("lr", "adamw_lr", "eps")],
        *[(OptimConfig, name, 1.0) for name in ("beta1", "beta2", "momentum", "ema_decay")],
        *[(OptimConfig, name, 1.1) for name in ("warmup", "min_lr_ratio")],
        *[(OptimConfig, name, -0.1) for name in ("weight_decay", "grad_clip", "exit_gate_coeff", "warmup")],
        *[(TrainConfig, name, 0) for name in ("steps", "batch_size", "seq_len", "accumulate", "eval_tokens")],
        *[(TrainConfig, name, 0) for name in ("log_every", "save_every", "eval_every")],
        (TrainConfig, "eval_every", 1.5),
        (TrainConfig, "seed", -1),
    ],
)
def test_values_out_of_range_are_named(cls: type, field: str, value: float):
    budget = {"steps": 5} if cls is TrainConfig else {}
    with pytest.raises(InputError, match=f"^{field}={value}"):
        cls(**{**budget, field: value})


@pytest.mark.parametrize("budget", [{}, {"steps": 1, "minutes": 1.0}])
def test_one_budget(budget: dict[str, float]):
    with pytest.raises(InputError, match="give one of steps, minutes, tokens"):
        TrainConfig(**budget)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"lr": "fast"}, "lr='fast' is not of type float"),
        ({"lrr": 1}, "unknown optim field 'lrr'; did you mean lr"),
        ({"optimizer": "adam"}, "unknown optimizer 'adam'; did you mean adamw"),
        ({"lr": None}, "lr must not be null"),
    ],
)
def test_building_checks_names_and_types(values: dict[str, Any], complaint: str):
    with pytest.raises(InputError, match=complaint):
        build(OptimConfig, values, "optim")


def test_building_converts():
    assert build(OptimConfig, {"lr": 1}, "optim").lr == 1.0
    assert build(TMTConfig, {"dense_layers": [0, 2]}, "model").dense_layers == (0, 2)
    assert build(DataConfig, {"max_bytes": None}, "data").max_bytes is None


def test_a_resumed_run_may_have_another_budget_and_batch():
    config = run_config()
    longer = config.extended({"train.steps": 7, "train.batch_size": 3})
    assert (longer.train.steps, longer.train.minutes, longer.train.batch_size) == (7, None, 3)
    assert replace(longer, train=config.train) == config
    assert config.extended({"train.accumulate": 2}).train == replace(config.train, accumulate=2)
    for wanted in ({"train.steps": 7, "train.minutes": 1.0}, {"train.steps": 0}, {"train.steps": "many"}):
        with pytest.raises(InputError):
            config.extended(wanted)


def test_what_a_resumed_run_must_agree_with():
    config = run_config()
    assert config == config.extended(
        {
            "arch": "tmt",
            "model.dense_layers": [1, 3],
            "optim.lr": 1e-7,
            "train.minutes": 0.25,
            "init_from": None,
        }
    )
    for name, value in {
        "arch": "transformer",
        "model.graph_k": 9,
        "train.seq_len": 3,
        "init_from": Path("x"),
    }.items():
        with pytest.raises(InputError, match=f"{name} was .*leave the option out, or .* --init-from"):
            config.extended({"arch": "tmt", name: value})
