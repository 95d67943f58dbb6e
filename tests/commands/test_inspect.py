import json
from dataclasses import replace

import pytest

from tmt.commands.inspect import InspectOptions, inspect
from tmt.errors import InputError
from tmt.run_folder import load_config

TEXT = "a [red] mesh"


@pytest.mark.parametrize("variant", ["plain", "transformer"])
def test_json_lines_first_the_model_then_each_token(
    variant: str, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    inspect(InspectOptions(run=runs[variant], text=TEXT, device="cpu", json=True))
    model, *tokens = map(json.loads, capsys.readouterr().out.splitlines())
    assert model.keys() == {"arch", "layers", "memory"}
    assert len(model["layers"]) == (0 if variant == "transformer" else 4)
    assert "".join(token["text"] for token in tokens) == TEXT
    assert ("attends" in tokens[0]) == (variant == "plain")


@pytest.mark.parametrize("variant", ["plain", "transformer"])
def test_tables(
    variant: str, runs: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    inspect(InspectOptions(run=runs[variant], text=TEXT, device="cpu", layer=1))
    printed = capsys.readouterr().out
    assert "'['" in printed
    assert ("attends in layer 1" in printed) == (variant == "plain")
    assert ("memory: 3 anchors" in printed) == (variant == "plain")


@pytest.mark.parametrize("variant", ["plain", "transformer"])
def test_the_implementation_of_each_operation(
    variant: str, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    inspect(InspectOptions(run=runs[variant], device="cpu", ops=True, json=True))
    ops = json.loads(capsys.readouterr().out)
    assert ("mesh_attention" in ops) == (variant == "plain")
    assert set(ops.values()) <= {"fused", "blocked", "torch"}
    inspect(InspectOptions(run=runs[variant], device="cpu", ops=True))
    printed = capsys.readouterr().out
    assert all(name in printed for name in ops)


def test_long_texts_are_refused(runs: dict[str, str]):
    with pytest.raises(InputError, match="at most 256"):
        inspect(InspectOptions(run=runs["plain"], text="x" * 300, device="cpu"))


def test_the_way_to_longer_texts_can_be_followed(runs: dict[str, str]):
    longest = load_config(runs["toeplitz"]).model.longest
    assert longest < 256
    options = InspectOptions(run=runs["toeplitz"], text="x" * (longest + 9), device="cpu", json=True)
    with pytest.raises(InputError, match=r"--set model\.beyond=fir"):
        inspect(options)
    inspect(replace(options, set=["model.beyond=fir"]))
