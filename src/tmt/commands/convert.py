"""`tmt convert`: a run whose model decodes from a small state, and what the conversion costs."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from tmt.checkpoint import Run, load_run, save_weights
from tmt.commands.report import PlainConsole, tell
from tmt.convert import Comparison, KernelFit, compare, require_fit, to_state
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.options.convert import ConvertOptions
from tmt.run_folder import create_folder, require_new_run
from tmt.writer_lock import sole_writer

KL_WORTH_A_WARNING = 0.01


def convert(options: ConvertOptions) -> None:
    """Run the command."""
    run = load_run(options.run)
    tokens = _validation_tokens(run, options.tokens)
    records = []
    for rank in options.ranks:
        model, fits = to_state(run.model, rank, options.head)
        comparison = compare(run.model, model, tokens, run.config.train.seq_len)
        if options.out is not None:
            _require_fit(run, fits, rank, comparison, options)
        records.append((rank, fits, comparison))
        if options.json:
            print(json.dumps(_record(rank, options.head, fits, comparison)), flush=True)
        if options.out is not None:
            _save(run, model, options.out)
    if not options.json:
        _show(records)
    rank, _, comparison = records[-1]
    if comparison.kl > KL_WORTH_A_WARNING:
        tell(f"warning: at rank {rank} predictions move by {comparison.kl:.3g} nats (KL) a token")
    if options.out is not None:
        tell(f"run folder: {options.out}")


def _require_fit(
    run: Run, fits: list[KernelFit], rank: int, comparison: Comparison, options: ConvertOptions
) -> None:
    try:
        require_fit(run.model, fits, rank, options.head, options.tolerance)
    except InputError as error:
        raise InputError(
            f"{error}; predictions move by {comparison.kl:.2g} nats (KL) a token: a larger "
            "--tolerance accepts that"
        ) from error


def _validation_tokens(run: Run, count: int) -> torch.Tensor:
    stream = run.config.data.open().tokens(run.tokenizer).valid
    return torch.from_numpy(stream[: max(count, run.config.train.seq_len) + 1])


def _save(run: Run, model: LanguageModel, folder: Path) -> None:
    """The run folder of the converted model; it names the run that it came from."""
    config = replace(run.config, model=model.config, init_from=str(run.folder))
    with sole_writer(folder):
        require_new_run(folder)
        create_folder(folder, config, run.tokenizer)
        save_weights(model, folder)


def _record(rank: int, head: int, fits: list[KernelFit], comparison: Comparison) -> dict[str, Any]:
    kernels = [asdict(fit) for fit in fits]
    return {"rank": rank, "free_taps": head, **asdict(comparison), "kernels": kernels}


def _show(records: list[tuple[int, list[KernelFit], Comparison]]) -> None:
    console = PlainConsole()
    if len(records) == 1:
        console.print(_kernel_table(records[0][1]))
    table = Table("rank", "worst error", "mean error", "KL (nats)", "same choice", "nats before", "after")
    for rank, fits, comparison in records:
        errors = [fit.relative_l1 for fit in fits]
        table.add_row(
            str(rank),
            f"{max(errors):.2e}",
            f"{sum(errors) / len(errors):.2e}",
            f"{comparison.kl:.2e}",
            f"{comparison.agreement:.1%}",
            f"{comparison.nats_first:.4f}",
            f"{comparison.nats_second:.4f}",
        )
    console.print(table)


def _kernel_table(fits: list[KernelFit]) -> Table:
    table = Table(
        "kernel", "head", "shift", "relative error", "no less than", "gain of error", "output moves by"
    )
    for fit in fits:
        bound = "–" if fit.output_bound is None else f"≤ {fit.output_bound:.2e}"
        numbers = (f"{x:.2e}" for x in (fit.relative_l1, fit.lower_bound, fit.gain_error))
        table.add_row(fit.kernel, str(fit.head), str(fit.shift), *numbers, bound)
    return table
