"""`tmt inspect`: what a model does with a text, token by token, or what it is made of."""

import json
from typing import Any

from rich.table import Table
from rich.text import Text

from tmt.checkpoint import load_run
from tmt.commands.inspect_operator import inspect_operator
from tmt.commands.report import PlainConsole, number
from tmt.evaluate import inspect_text
from tmt.options.inspect import InspectOptions
from tmt.terminal import typed

Record = dict[str, Any]


def inspect(options: InspectOptions) -> None:
    """Run the command."""
    run = load_run(options.run, options.device, options.set)
    if options.operator:
        inspect_operator(run, options.json, options.plot)
        return
    if options.ops:
        _show_ops(run.model.ops(), options.json)
        return
    text = typed(options.text)
    model, tokens = inspect_text(run.model, run.tokenizer, text, top=options.top, layer=options.layer)
    if options.json:
        for record in ({"arch": run.config.arch, **model}, *tokens):
            print(json.dumps(record, allow_nan=False))
        return
    console = PlainConsole()
    if model["layers"]:
        console.print(_layer_table(model["layers"]))
    if model["memory"]:
        console.print(_memory_line(model["memory"]))
    console.print(_token_table(tokens))


def _show_ops(ops: dict[str, str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(ops))
        return
    table = Table("operation", "implementation")
    for name, path in ops.items():
        table.add_row(name, path)
    PlainConsole().print(table)


def _layer_table(layers: list[Record]) -> Table:
    table = Table("layer", "tokens", "syntax gate", "half-lives (tokens)", "similarity gains")
    for record in layers:
        table.add_row(
            str(record["layer"]),
            str(record["tokens"]),
            number(record["mean_gate"], ".2f"),
            _numbers(record["half_lives"], ".0f"),
            _numbers(record["similarity_gains"], ".2f"),
        )
    return table


def _memory_line(memory: Record) -> str:
    shares = " ".join(f"{share:.0%}" for share in memory["shares"])
    return (
        f"memory: {memory['anchors']} anchors, {memory['usage']:.1f} in use, "
        f"effective rank {memory['effective_rank']:.1f}; shares {shares}"
    )


def _token_table(records: list[Record]) -> Table:
    traced = "layers_run" in records[0]
    table = Table("", "token", "nats of next")
    if traced:
        shown = records[0]["layer"]
        for heading in ("layers", "left after", f"gate {shown}", f"attends in layer {shown}"):
            table.add_column(heading)
    for record in records:
        cells = [str(record["position"]), repr(record["text"]), number(record["nats"], ".2f")]
        if traced:
            left, gate = record["exit_layer"], record["gates"][record["layer"]]
            cells += [str(record["layers_run"]), number(left, "d"), number(gate, ".2f"), _attention(record)]
        table.add_row(*map(Text, cells))
    return table


def _attention(record: Record) -> str:
    if record["attends"] is None:
        return "–"
    parts = [f"{a['text']!r}@{a['position']} {a['weight']:.2f} {a['kind']}" for a in record["attends"]]
    parts.append(f"self {record['self']:.2f}")
    if record["memory"] is not None:
        parts.append(f"memory {record['memory']:.2f}")
    return ", ".join(parts)


def _numbers(values: list[float | None] | None, form: str) -> str:
    return "–" if values is None else " ".join(number(value, form) for value in values)
