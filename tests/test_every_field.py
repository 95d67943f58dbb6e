"""Every field of a configuration is shown to do what it says.

A test says so by the mark `shows("TMTConfig", "graph_k", …)`: the class and the fields whose effect it looks
for. A field that no test shows fails here, and so does a mark without a field.
"""

import ast
import dataclasses
import inspect
from functools import cache
from pathlib import Path

import pytest

from tmt.config import DataConfig, OptimConfig, TrainConfig
from tmt.model import ARCHITECTURES
from tmt.options.train import TrainOptions

CONFIGURATIONS: list[type] = [entry.config for entry in ARCHITECTURES.values()]
CONFIGURATIONS += [OptimConfig, TrainConfig, DataConfig, TrainOptions]


def declared() -> set[tuple[str, str]]:
    """Class and field, where a field of an architecture that others have too is the common class's."""
    owners = set()
    for configuration in CONFIGURATIONS:
        for field in dataclasses.fields(configuration):
            first = [c for c in configuration.__mro__ if field.name in inspect.get_annotations(c)]
            owners.add((first[-1].__name__, field.name))
    return owners


@cache
def shown() -> set[tuple[str, str]]:
    """Class and field of every mark in the tests."""
    found: set[tuple[str, str]] = set()
    for file in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.shows":
                owner, *fields = (ast.literal_eval(argument) for argument in node.args)
                found |= {(owner, field) for field in fields}
    return found


def test_every_field_is_shown_to_do_what_it_says():
    assert sorted(declared() - shown()) == []
    assert sorted(shown() - declared()) == []


def test_a_new_field_is_missed(monkeypatch: pytest.MonkeyPatch):
    new = dataclasses.make_dataclass(
        "Wider", [("breadth", int, 3)], bases=(DataConfig,), frozen=True, kw_only=True
    )
    monkeypatch.setattr(f"{__name__}.CONFIGURATIONS", [new])
    assert declared() - shown() >= {("Wider", "breadth")}
