"""One order of options: every field of a run has one dotted name, and whatever is said later wins.

The layers, in rising order: preset, recipe, each file in turn, the command line. Within a file and on the
command line, options come below sections (`model:`, `optim:`, `train:`), and those below `set`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tmt.budget import BUDGETS
from tmt.overrides import parse_overrides

Layer = Mapping[str, Any]
"""Options of one place, by name: a file, or the command line."""

NAMES: dict[str, str] = {
    **{name: name for name in ("arch", "preset", "recipe", "init_from")},
    "data": "data.source",
    "valid_data": "data.valid",
    "test_data": "data.test",
    **{
        name: f"data.{name}"
        for name in ("text_field", "max_bytes", "separator", "on_bad_row", "follow_links", "tokenizer")
    },
    "lr": "optim.lr",
    **{
        name: f"train.{name}"
        for name in (*BUDGETS, "batch_size", "seq_len", "accumulate", "seed", "precision")
    },
}
"""The dotted name of what an option sets; the others are no field of a run."""
SECTIONS = ("model", "optim", "train")
"""Options that hold fields by name."""
RATES = ("optim.lr", "optim.adamw_lr", "optim.small_lr")
"""What `lr` sets where AdamW trains everything."""
ENDS = [f"train.{name}" for name in BUDGETS]
"""Ways to say one thing: a layer that gives one takes back the others of the layers below."""


def merged(base: Mapping[str, Any], layers: Iterable[Layer]) -> dict[str, Any]:
    """Fields by dotted name: those of `base`, under those of the layers in rising order.

    Raises:
        InputError: a `set` is not of the form section.field=value.
    """
    layers = list(layers)
    fields = _over(base, layers, RATES[:1])
    if fields.get("optim.optimizer") == "adamw":
        fields = _over(base, layers, RATES)
    for name in RATES[:2]:
        if fields.get(name, 0) is None:  # `lr: null` takes back the rate of a layer below
            del fields[name]
            fields |= {name: base[name]} if name in base else {}
    return fields


def _over(base: Mapping[str, Any], layers: Iterable[Layer], rates: Iterable[str]) -> dict[str, Any]:
    fields = dict(base)
    for layer in layers:
        fields |= _fields(layer, rates)
    return fields


def _fields(layer: Layer, rates: Iterable[str]) -> dict[str, Any]:
    """What one layer says; `lr` sets `rates`."""
    fields = {NAMES[name]: value for name, value in layer.items() if name in NAMES}
    if "lr" in layer:
        fields |= dict.fromkeys(rates, layer["lr"])
    for section in SECTIONS:
        fields |= {f"{section}.{name}": value for name, value in layer.get(section, {}).items()}
    fields |= parse_overrides(layer.get("set", []))
    if any(fields.get(end) is not None for end in ENDS):
        fields |= {end: None for end in ENDS if end not in fields}
    return fields
