"""Fields by dotted name, as `--set` gives them."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import yaml

from tmt.errors import InputError, unknown

SECTIONS = ("model", "optim", "train", "data")
"""Parts of the configuration of a run; a field of one is named `section.field`."""


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """`["model.graph_k=12"]` to `{"model.graph_k": 12}`; values are JSON or YAML, the last of a field wins.

    Raises:
        InputError: an assignment is not of that form, or names no section.
    """
    fields: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        section, dot, field = name.partition(".")
        if not (equals and dot and field):
            raise InputError(f"--set {assignment!r} is not of the form section.field=value")
        if section not in SECTIONS:
            raise unknown("section of --set", section, SECTIONS)
        fields[name] = _value(text, assignment)
    return fields


def model_overrides(assignments: Sequence[str], who: str) -> dict[str, Any]:
    """`["model.graph_k=12"]` to `{"graph_k": 12}`; InputError where `who` is told of any other section."""
    fields = parse_overrides(assignments)
    for name in fields:
        if not name.startswith("model."):
            raise InputError(f"--set {name}: {who} takes --set model.field=value only")
    return section_of(fields, "model")


def section_of(fields: Mapping[str, Any], section: str) -> dict[str, Any]:
    """`{"model.graph_k": 12, …}` to `{"graph_k": 12}`."""
    prefix = f"{section}."
    return {name.removeprefix(prefix): value for name, value in fields.items() if name.startswith(prefix)}


def _value(text: str, assignment: str) -> Any:
    for read in (json.loads, yaml.safe_load):  # YAML alone takes 3e-4 for a string
        with suppress(ValueError, RecursionError, yaml.YAMLError):
            return read(text)
    raise InputError(f"--set {assignment[:80]!r}: the value is neither JSON nor YAML")
