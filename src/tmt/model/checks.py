"""Checks that name the field, its value and the reason."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

from tmt.errors import InputError


def require(condition: bool, config: Any, field: str, reason: str) -> None:
    """Raise InputError about `field` of `config` unless `condition` holds."""
    if not condition:
        raise InputError(f"{field}={getattr(config, field)!r} {reason}")


def require_positive(config: Any, *fields: str) -> None:
    """Every named field must be above zero."""
    for field in fields:
        require(getattr(config, field) > 0, config, field, "must be above zero")


def require_choices(config: Any) -> None:
    """Every field of Literal type must hold one of its values."""
    for field, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            require(getattr(config, field) in choices, config, field, f"is none of {', '.join(choices)}")


def require_heads(config: Any) -> None:
    """d_model must split into n_heads heads of even width (rotary positions turn pairs)."""
    require_positive(config, "n_heads")
    reason = f"is not divisible by n_heads={config.n_heads}"
    require(config.d_model % config.n_heads == 0, config, "d_model", reason)
    width = config.d_model // config.n_heads
    require(width % 2 == 0, config, "n_heads", f"makes heads of odd width {width}")
