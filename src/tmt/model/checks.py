"""Checks that name the field, its value and the reason."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from tmt.errors import InputError


def require(condition: bool, config: Any, field: str, reason: str) -> None:
    """Raise InputError about `field` of `config` unless `condition` holds."""
    if not condition:
        raise InputError(f"{field}={getattr(config, field)!r} {reason}")


def require_positive(config: Any, *fields: str) -> None:
    """Every named field must be above zero."""
    for field in fields:
        require(getattr(config, field) > 0, config, field, "must be above zero")


def changed(config: Any, reasons: Mapping[str, str]) -> dict[str, str]:
    """Those of the fields in `reasons` that differ from their defaults."""
    usual = {field.name: field.default for field in fields(config)}
    return {name: reason for name, reason in reasons.items() if getattr(config, name) != usual[name]}


def require_effect(config: Any, names: Iterable[str], section: str) -> None:
    """InputError for the first of the named fields that changes nothing, by `config.unused()`."""
    unused = config.unused()
    for name in names:
        if name in unused:
            field = f"{section}.{name}={getattr(config, name)!r}"
            raise InputError(f"{field} has no effect: {unused[name]}; leave it out")
