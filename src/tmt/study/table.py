"""The tables of a study: what every run cost, and each score with its difference from the base."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tmt.options.study_file import Study
from tmt.study.figures import Findings
from tmt.study.record import write_whole
from tmt.study.statistics import Estimate, contrast, mean, spread

TABLE = "table.md"
NONE = "–"


def write_table(study: Study, folder: Path) -> str:
    """Write the tables into the folder of the records; returns them."""
    text = table_text(study, folder)
    write_whole(folder / TABLE, text)
    return text


def table_text(study: Study, folder: Path) -> str:
    """The tables as Markdown, from the records alone."""
    findings = Findings(study, folder)
    parts = [*_heading(findings), *_cost(findings)]
    for label in findings.labels:
        parts += _score(findings, label)
    parts += [*_packing(findings), *_depth(findings)]
    return "\n".join(parts) + "\n"


def _heading(findings: Findings) -> Iterator[str]:
    study = findings.study
    if study.about:
        yield study.about.strip() + "\n"
    (kind, amount), *_ = study.budget.items()
    yield f"Budget of every run: {amount:,} {kind.replace('_', ' ')}. Base: {study.base}."
    how = "what runs and seeds leave of all runs together" if study.pooled else "the differences of each pair"
    yield (
        "Differences in bits per byte from the base, seed by seed; below zero is better. Intervals: 95 %; of "
        f"differences, for all {findings.comparisons} together (Bonferroni), with the spread of {how}."
    )
    for name, values in (("Code", _of_all(findings, "commits")), ("Machine", _of_all(findings, "machines"))):
        if values:
            yield f"{name}: {'; '.join(values)}."
    if findings.failures:
        yield f"Failed: {'; '.join(findings.failures)}."
    if findings.unfinished:
        yield f"Not done yet: {findings.unfinished} runs."


def _of_all(findings: Findings, name: str) -> list[str]:
    found = [value for record in findings.every for value in getattr(record, name)]
    lines = [v if isinstance(v, str) else ", ".join(f"{k} {x}" for k, x in v.items()) for v in found]
    return list(dict.fromkeys(lines))


def _cost(findings: Findings) -> Iterator[str]:
    first = findings.labels[0] if findings.labels else ""
    yield from _table(
        "cost, mean over seeds",
        ["run", "seeds", "parameters", "steps", "tokens", "training FLOPs", "FLOPs/token read", "minutes",
         "core minutes"],
        [
            [
                name,
                str(len(seeds)),
                _number(findings.average(name, first, "params"), ",.0f"),
                _number(findings.spent(name, "steps"), ",.0f"),
                _number(findings.spent(name, "tokens"), ",.0f"),
                _number(findings.spent(name, "flops"), ".3g"),
                _number(findings.average(name, first, "flops_per_token"), ",.0f"),
                _number(findings.spent(name, "elapsed"), ".2f", 1 / 60),
                _number(findings.spent(name, "core_seconds"), ".2f", 1 / 60),
            ]
            for name, seeds in findings.records.items()
            if seeds
        ],
    )  # fmt: skip


def _score(findings: Findings, label: str) -> Iterator[str]:
    study, compared = findings.study, label in findings.compared
    bits, nats = findings.scores(label, "bpb"), findings.scores(label, "nats")
    rows = []
    for name in study.names:
        values = list(bits[name].values())
        if values:
            cells = [
                name,
                str(len(values)),
                f"{mean(list(nats[name].values())).mean:.4f}",
                f"{mean(values).mean:.4f}",
            ]
            cells += [_number(spread(values), ".4f"), _interval(mean(values))]
            rows.append([*cells, *(_difference(findings, label, name) if compared else [])])
    for name in study.contrasts if compared else []:
        rows.append([name, *[""] * 5, *_difference(findings, label, name)])
    columns = ["run", "seeds", "nats/token", "bits/byte", "deviation", "95 %"]
    yield from _table(label, [*columns, *(["difference", "verdict"] if compared else [])], rows)


def _difference(findings: Findings, label: str, name: str) -> list[str]:
    weights = findings.contrasts.get(name)
    if weights is None:
        return ["", "base"]
    scores = findings.scores(label, "bpb")
    found = contrast(scores, weights, findings.comparisons, findings.study.pooled)
    if found is None:
        return [NONE, NONE]
    return [f"{found.mean:+.4f}{_half(found)}", verdict(found)]


def verdict(difference: Estimate) -> str:
    """What a difference in a loss says."""
    if not difference.decided:
        return "undecided"
    return "better" if difference.mean < 0 else "worse"


def _interval(estimate: Estimate) -> str:
    if estimate.half is None:
        return NONE
    return f"{estimate.mean - estimate.half:.4f} to {estimate.mean + estimate.half:.4f}"


def _half(estimate: Estimate) -> str:
    return "" if estimate.half is None else f" ± {estimate.half:.4f}"


def _packing(findings: Findings) -> Iterator[str]:
    for evaluation in findings.study.scores:
        if evaluation.command == "pack":
            sizes = {
                name: findings.average(name, evaluation.name, "artifact_bytes") for name in findings.records
            }
            each = {name: findings.average(name, evaluation.name, "parameters") for name in findings.records}
            yield from _table(
                f"{evaluation.name}: size, mean over seeds",
                ["run", "bytes", "bytes a parameter"],
                [
                    [name, _number(size, ",.0f"), _number(size, ".3f", 1 / (each[name] or 1))]
                    for name, size in sizes.items()
                    if size is not None
                ],
            )


def _depth(findings: Findings) -> Iterator[str]:
    """Layers by class of token, where tokens leave early."""
    for label in findings.labels[:1]:
        shares = findings.scores(label, "mean_depth")
        tables = findings.scores(label, "depth_by_class")
        leaving = [name for name, seeds in shares.items() if any(share < 1 for share in seeds.values())]
        if not leaving:
            return
        classes = list(next(iter(tables[leaving[0]].values())))
        rows = []
        for name in leaving:
            layers = [[t[c]["mean_layers"] for t in tables[name].values()] for c in classes]
            known = [[x for x in values if x is not None] for values in layers]
            cells = [f"{sum(v) / len(v):.2f}" if v else NONE for v in known]
            rows.append([name, f"{mean(list(shares[name].values())).mean:.3f}", *cells])
        yield from _table(
            f"{label}: layers run by class of token", ["run", "share of layers", *classes], rows
        )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield f"\n## {title}\n"
        yield f"| {' | '.join(columns)} |"
        yield "|" + "---|" * len(columns)
        yield from (f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return NONE if value is None else format(value * factor, form)
