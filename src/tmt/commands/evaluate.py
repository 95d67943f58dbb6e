"""`tmt eval`: the loss of a run in comparable units, what it costs, and whether it cheats."""

import json
from typing import Any

from rich.table import Table

from tmt.checkpoint import Run, load_run
from tmt.commands.harness import harness_record, show_harness
from tmt.commands.report import PlainConsole, number, scored_bytes, tell, tell_unspelt
from tmt.evaluate.scored_text import evaluate_text, part_of, scored_text
from tmt.options.evaluate import EvaluateOptions


def evaluate(options: EvaluateOptions) -> None:
    """Run the command."""
    run = load_run(options.run, options.device, options.set)
    if options.harness is None:
        record, show = _text_record(run, options), _show
    else:
        record, show = _harness_record(run, options, options.harness), show_harness
    if options.json:
        print(json.dumps(record, allow_nan=False))
    else:
        show(record)


def _harness_record(run: Run, options: EvaluateOptions, tasks: str) -> dict[str, Any]:
    return harness_record(
        run,
        tasks,
        folder=options.harness_path,
        limit=options.limit,
        context=options.context,
        stride=options.stride,
        batch_size=options.batch_size,
    )


def _text_record(run: Run, options: EvaluateOptions) -> dict[str, Any]:
    text = scored_text(run, options.data, options.split)
    for line in text.notes:
        tell(line)
    record = evaluate_text(
        run,
        text,
        context=options.context,
        stride=options.stride,
        limit=options.limit,
        batch_size=options.batch_size,
        raw_bytes=options.raw_bytes,
    )
    tell_unspelt({record["split"]: record["spelt"]})
    return record


def _show(record: dict[str, Any]) -> None:
    title = f"{record['arch']} on {part_of(record['data'], record['split'])}"
    table = Table("measure", "value", title=title, title_justify="left")
    for name, value in _measures(record):
        table.add_row(name, value)
    depth = Table("input token", "tokens", "mean layers", title="depth", title_justify="left")
    for name, row in record["depth_by_class"].items():
        depth.add_row(name, f"{row['tokens']:,}", number(row["mean_layers"], ".2f"))
    positions = Table("tokens read", "nats per token", title="loss by position", title_justify="left")
    for name, nats in record["nats_by_position"].items():
        positions.add_row(name, number(nats, ".4f"))
    console = PlainConsole()
    console.print(table)
    console.print(positions)
    console.print(depth)


def _measures(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("nats per token", number(record["nats"], ".4f")),
        ("perplexity", number(record["ppl"], ".2f")),
        ("bits per byte", number(record["bpb"], ".4f")),
        ("bytes of", record["bytes_of"]),
        *_raw_measures(record),
        ("perplexity per word", number(record["word_ppl"], ".1f")),
        ("context, stride", f"{record['context']}, {record['stride']}"),
        ("tokens, bytes, words", ", ".join(f"{record[key]:,}" for key in ("tokens", "bytes", "words"))),
        ("bytes scored", scored_bytes(record["bytes"], record["split_bytes"])),
        ("parameters", f"{record['params']:,}"),
        ("mean depth", f"{record['mean_depth']:.1%} of the layers ({record['mean_layers']:.2f})"),
        ("tokens per layer", " ".join(f"{share:.0%}" for share in record["layer_share"])),
        ("MFLOPs per token", _cost(record["flops_per_token"], record["flops_per_token_dense"])),
        ("leak probe", f"{record['causal_max_diff']:.1e}"),
    ]


def _cost(flops: float | None, dense: float | None) -> str:
    if flops is None or dense is None:
        return "not counted"
    return f"{flops / 1e6:.3f} ({flops / dense:.1%} of running every layer)"


def _raw_measures(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Of the raw text, where the tokens spell another."""
    rows = []
    if record["bytes_of"] != "text":
        rows = [("bits per byte of raw text", number(record["raw_bpb"], ".4f"))]
        rows.append(("bytes of raw text", number(record["raw_bytes"], ",")))
    if record["spelt"] != 1:
        rows.append(("of it the tokens can spell", number(record["spelt"], ".1%")))
    return rows
