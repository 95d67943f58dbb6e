"""`tmt eval --harness`: a run in the tasks of the lm-evaluation-harness."""

import math
from collections.abc import Iterator
from numbers import Real
from typing import Any

from rich.table import Table

from tmt.checkpoint import Run
from tmt.commands.report import PlainConsole


def harness_record(
    run: Run,
    tasks: str,
    *,
    folder: str | None,
    limit: int | None,
    context: int | None,
    stride: int | None,
    batch_size: int,
) -> dict[str, Any]:
    """The metrics of the tasks, named with commas between; what is no finite number is None."""
    from tmt.evaluate.harness import HarnessModel, evaluate_tasks

    model = HarnessModel(run.model, run.tokenizer, context=context, stride=stride, batch_size=batch_size)
    found = evaluate_tasks(model, tasks.split(","), folder=folder, limit=limit)
    return {
        "arch": run.config.arch,
        "context": model.context,
        "stride": model.stride,
        "harness": found["lm_eval_version"],
        "tasks": {
            task: {
                "samples": found["n-samples"].get(task, {}).get("effective"),
                "shots": found["n-shot"].get(task),
                "version": found["versions"].get(task),
                "metrics": {name: _finite(value) for name, value in metrics.items() if "," in name},
            }
            for task, metrics in found["results"].items()
        },
    }


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def show_harness(record: dict[str, Any]) -> None:
    """Print the metrics as a table, each beside its standard error."""
    title = f"{record['arch']} in lm-evaluation-harness {record['harness']}"
    table = Table(
        "task", "samples", "shots", "metric", "filter", "value", "±", title=title, title_justify="left"
    )
    for row in _rows(record["tasks"]):
        table.add_row(*("–" if cell is None else str(cell) for cell in row))
    PlainConsole().print(table)


def _rows(tasks: dict[str, Any]) -> Iterator[tuple]:
    for task, found in tasks.items():
        metrics = found["metrics"]
        for name, value in metrics.items():
            metric, _, kept = name.partition(",")
            if not metric.endswith("_stderr"):
                error = metrics.get(f"{metric}_stderr,{kept}")
                numbers = (None if x is None else f"{x:.4f}" for x in (value, error))
                yield task, found["samples"], found["shots"], metric, kept, *numbers
