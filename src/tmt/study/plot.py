"""Pictures of a study: differences with their intervals, losses by context, learning curves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tmt.options.study_file import Study
from tmt.study.figures import Findings, figures_of
from tmt.study.statistics import contrast, mean

INCHES = (7.0, 4.5)


def draw(study: Study, folder: Path) -> list[Path]:
    """Draw what the records allow into the folder, as SVG; returns the files."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    findings, written = Findings(study, folder), []
    drawings: dict[str, Callable[[Any, Findings], bool]] = {
        "differences": _differences,
        "contexts": _contexts,
        "curves": lambda axes, findings: _curves(axes, findings, folder),
    }
    for name, drawing in drawings.items():
        figure = Figure(INCHES, layout="constrained")
        if drawing(figure.subplots(), findings):
            path = folder / f"{name}.svg"
            with rc_context({"svg.hashsalt": name}):
                figure.savefig(path, metadata={"Date": None})
            written.append(path)
    return written


def _differences(axes: Any, findings: Findings) -> bool:
    """Every comparison with its interval, one colour a score."""
    names = list(findings.contrasts)
    for index, label in enumerate(findings.compared):
        scores = findings.scores(label, "bpb")
        found = [
            contrast(scores, findings.contrasts[name], findings.comparisons, findings.study.pooled)
            for name in names
        ]
        shift = 0.12 * (index - (len(findings.compared) - 1) / 2)
        points = [(each, row + shift) for row, each in enumerate(found) if each and each.half is not None]
        axes.errorbar(
            [each.mean for each, _ in points],
            [row for _, row in points],
            xerr=[each.half for each, _ in points],
            fmt=".",
            capsize=3,
            label=label,
        )
    axes.axvline(0, color="grey", lw=0.8)
    axes.set_yticks(range(len(names)), names, fontsize="small")
    axes.invert_yaxis()
    axes.set(xlabel=f"bits per byte against {findings.study.base}; left is better")
    axes.legend(fontsize="small")
    return bool(findings.compared and names)


def _contexts(axes: Any, findings: Findings) -> bool:
    """Bits per byte by the tokens read at once, where scores differ in that alone."""
    contexts = {
        label: figures["context"]
        for record in findings.every
        for label, figures in figures_of(record).items()
        if "context" in figures
    }
    if len(set(contexts.values())) < 2:
        return False
    for name, seeds in findings.records.items():
        points = [
            (context, mean(list(scores.values())))
            for label, context in sorted(contexts.items(), key=lambda pair: pair[1])
            if (scores := findings.scores(label, "bpb")[name])
        ]
        if seeds:
            halves = [estimate.half or 0 for _, estimate in points]
            means = [estimate.mean for _, estimate in points]
            axes.errorbar(
                [context for context, _ in points], means, halves, capsize=3, marker=".", label=name
            )
    axes.set(xscale="log", xlabel="tokens read at once", ylabel="bits per byte, mean of the seeds ± 95 %")
    ticks = sorted(set(contexts.values()))
    axes.set_xticks(ticks, map(str, ticks))
    axes.xaxis.minorticks_off()
    axes.legend(fontsize="small")
    return True


def _curves(axes: Any, findings: Findings, folder: Path) -> bool:
    """Loss on validation over training, one line a run and seed."""
    slugs = {(job.name, job.seed): job.slug for job in findings.study.jobs}
    for index, (name, seeds) in enumerate(findings.records.items()):
        for seed in seeds:
            text = (folder / slugs[name, seed] / "metrics.jsonl").read_text(encoding="utf-8")
            lines = [line for line in map(json.loads, text.splitlines()) if "valid_nats" in line]
            label = name if seed == next(iter(seeds)) else None
            style = dict(color=f"C{index % 10}", lw=1, ls="-" if index < 10 else "--", label=label)
            axes.plot([line["tokens"] for line in lines], [line["valid_nats"] for line in lines], **style)
    axes.set(xlabel="tokens trained on", ylabel="nats per token, validation")
    axes.legend(fontsize="small")
    return bool(findings.every)
