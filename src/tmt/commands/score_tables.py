"""The tables of `tmt score`."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tmt.commands.report import PlainConsole, number, scored_bytes


def show_scores(records: list[dict[str, Any]]) -> None:
    """Print the record of the run, and of the baseline where there is one."""
    console = PlainConsole()
    for record in records:
        if record["audit"] is not None:
            console.print(_audit(record["audit"]))
        console.print(_passes(record))
        main = record["passes"]["adapted"]
        scored = scored_bytes(main["bytes"], record["split_bytes"])
        console.print(f"bytes scored of {record['data']}: {scored}")
        console.print(_parts(record))
        for hits in _tap_in(record):
            console.print(hits)
        if record["part_code_bytes"]:
            console.print(f"code of the part from a file: {record['part_code_bytes']:,} bytes")
        if not record["complete"]:
            console.print(f"stopped by --minutes: {main['tokens']:,} of {main['of_tokens']:,} tokens scored")
    if len(records) == 2:
        console.print(_comparison(records))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _passes(record: dict[str, Any]) -> Table:
    cut = f"window {record['window']}, stride {record['stride']}, chunk {record['chunk']:,}"
    parts = ", ".join(record["parts"]) or "sliding windows alone"
    title = f"{record['run']} ({record['arch']}) on {record['data']}: {cut}; adapted: {parts}"
    rewritten = record["bytes_of"] != "text"
    bits = ("bits/byte", "of raw text") if rewritten else ("bits/byte",)
    table = _table(title, "pass", "nats", "PPL", "change", *bits, "seconds", "tokens/s")
    static = record["passes"]["static"]["ppl"]
    for name, scores in record["passes"].items():
        ppl = scores["ppl"]
        table.add_row(
            name,
            number(scores["nats"], ".4f"),
            number(ppl, ".2f"),
            number(None if None in (ppl, static) else ppl / static - 1, "+.1%"),
            number(scores["bpb"], ".4f"),
            *([number(scores["raw_bpb"], ".4f")] if rewritten else []),
            f"{scores['elapsed']:.0f}",
            f"{scores['tokens'] / max(scores['elapsed'], 1e-9):,.0f}",
        )
    return table


def _parts(record: dict[str, Any]) -> Table:
    """What each part adds to those before it in the adapted pass, and what it takes.

    What trains the model shows in the model's row.
    """
    main = record["passes"]["adapted"]
    table = _table("in the adapted pass", "after", "nats", "gain", "seconds")
    table.add_column("what it says", overflow="fold")
    before = None
    for name, nats in main["stages"].items():
        gain = None if None in (nats, before) or nats == before else before - nats
        figures = {key: value for key, value in main["figures"].get(name, {}).items() if key != "matches"}
        said = ", ".join(f"{key.replace('_', ' ')} {_brief(value)}" for key, value in figures.items())
        seconds = main["seconds"].get(name, 0.0)
        table.add_row(name, number(nats, ".4f"), number(gain, "+.4f"), f"{seconds:.1f}", said)
        before = nats
    return table


def _brief(value: Any) -> str:
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
    )


def _tap_in(record: dict[str, Any]) -> list[Table]:
    matches = record["passes"]["adapted"]["figures"].get("tap_in", {}).get("matches")
    if not matches:
        return []
    columns = ("match", "length", "votes", "fires", "hits", "model's p", "weight", "nats/fire")
    table = _table("matches in the window and before it", *columns)
    for row in matches:
        table.add_row(
            "before" if row["cross"] else "window",
            row["length"],
            row["votes"],
            f"{row['fires']:,}",
            *(f"{row[name]:.1%}" for name in ("hit_rate", "p_hint", "weight")),
            f"{row['gain_nats'] / row['fires']:+.4f}",
        )
    return [table]


def _audit(findings: list[dict[str, Any]]) -> Table:
    table = Table("rule", "kept", "worst", "allowed", "checked", title="audit", title_justify="left")
    for finding in findings:
        figures = (f"{finding[name]:.1e}" for name in ("figure", "limit"))
        table.add_row(finding["rule"], "yes", *figures, finding["checked"])
    return table


def _comparison(records: list[dict[str, Any]]) -> Table:
    table = _table(
        "run and baseline", "", "arch", "parameters", "static bits/byte", "adapted bits/byte", "change"
    )
    for name, record in zip(("run", "baseline"), records, strict=True):
        static, adapted = (record["passes"][key]["bpb"] for key in ("static", "adapted"))
        change = None if None in (static, adapted) else adapted - static
        sizes = (record["arch"], f"{record['params']:,}")
        table.add_row(name, *sizes, number(static, ".4f"), number(adapted, ".4f"), number(change, "+.4f"))
    return table
