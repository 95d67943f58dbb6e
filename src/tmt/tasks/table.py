"""Records for a reader: every learning rate, and how the best one fares under growing load."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tmt.tasks.results import Line, Record, summarise

BEST = "*"


def text_tables(records: Sequence[Record]) -> Iterator[Table]:
    """A table of all models and learning rates of one task; where it has loads, one of the best by load."""
    lines = summarise(records)
    yield _overview(lines)
    if "by_load" in records[0]:
        yield _by_load([line for line in lines if line.best])


def _overview(lines: Sequence[Line]) -> Table:
    first = lines[0].first
    sizes = ", ".join(f"{name}={value}" for name, value in first["sizes"].items())
    figures = {"score": first["score_name"], "accuracy": "accuracy", "nats": "nats"}
    if first["score_name"] == "accuracy":
        del figures["accuracy"]
    table = _table(
        ("model", "params", "lr", "seeds", *figures.values(), "s/step"),
        f"{first['task']} ({sizes}), {first['steps']:,} steps of {first['batch_size']}",
        f"mean ± 95 % over seeds; {_bounds(lines)}; {BEST} best on validation draws",
    )
    for line in lines:
        seconds = sum(r["seconds"] for r in line.records) / max(
            1, sum(r["steps_taken"] for r in line.records)
        )
        table.add_row(
            _name(line),
            f"{line.first['params']:,}",
            f"{line.first['lr']:g}{BEST if line.best else ' '}",
            str(len(line.records)),
            *(_figure(line, name) for name in figures),
            f"{seconds:.3g}",
        )
    return table


def _by_load(lines: Sequence[Line]) -> Table:
    loads = sorted({load for line in lines for record in line.records for load in record["by_load"]}, key=int)
    table = _table(("model", *loads), f"accuracy by {lines[0].first['grouped_by']}", None)
    for line in lines:
        table.add_row(_name(line), *(_accuracy(line, load) for load in loads))
    return table


def _table(columns: Sequence[str], title: str, caption: str | None) -> Table:
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for column in columns:
        name = column == "model"
        table.add_column(
            column, justify="left" if name else "right", no_wrap=not name, min_width=12 if name else None
        )
    return table


def _name(line: Line) -> str:
    encoder = line.first.get("encoder")
    return line.first["arch"] + (f", {encoder}" if encoder else "")


def _bounds(lines: Sequence[Line]) -> str:
    """What the scores lie between: a guess, who counts symbols but not their order, and the answer."""
    chance = f"chance {lines[0].first['chance']:.3g}"
    records = [record for line in lines for record in line.records if "floor" in record]
    if not records:
        return chance
    floor, solve = (sum(record[name] for record in records) / len(records) for name in ("floor", "solve"))
    return f"{chance}, counting without order {floor:.3g}, solved {solve:.3g}"


def _figure(line: Line, name: str) -> str:
    mean, half = line.interval(name)
    return f"{mean:.3f}" + ("" if half is None else f" ±{half:.3f}")


def _accuracy(line: Line, load: str) -> str:
    cells = [record["by_load"][load]["accuracy"] for record in line.records if load in record["by_load"]]
    return f"{sum(cells) / len(cells):.3f}" if cells else "–"
