"""`tmt pack`: a run as one small file, within a limit that code and tokenizer count towards."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from itertools import islice
from typing import Any

from rich.table import Table
from torch import Tensor

from tmt.artifact import (
    Packer,
    Packing,
    PackSettings,
    bringing_under,
    calibrate,
    describe,
    fit,
    mean_loss,
    summary,
    treatments,
)
from tmt.artifact.code_size import code_bytes, needed_files
from tmt.checkpoint import Run, load_run, model_state, write_safely
from tmt.commands.report import PlainConsole, tell
from tmt.evaluate import score
from tmt.evaluate.text_size import bytes_of
from tmt.model import architecture
from tmt.options.pack import PackOptions
from tmt.tokens import TokenSplits
from tmt.tokens.shard_loader import training_loader

FIT_TOKENS = 8192
"""Tokens of the calibration text on which --fit compares its choices, rounded up to a batch."""


def pack(options: PackOptions) -> None:
    """Run the command."""
    settings = _settings(options)
    run = load_run(options.run, options.device)
    treatments(run.model, model_state(run.model), settings)  # refuses before the long work
    splits = run.config.data.open().tokens(run.tokenizer)
    batches = list(_batches(run, splits, options.tokens))
    own = architecture(run.config.arch).source
    packer = Packer(run, calibrate(run.model, batches), code_bytes(options.code == "compressed", own))
    packing = _packed(packer, settings, batches, options)
    if options.out is not None:
        write_safely(options.out, lambda temporary: temporary.write_bytes(packing.encoded.content))
    scores = _scores(run, packing, splits, options)
    if options.json:
        print(json.dumps(_record(packing, scores, options, len(needed_files(own)))))
    else:
        _show(packing, scores, options, len(needed_files(own)))


def _settings(options: PackOptions) -> PackSettings:
    return PackSettings(**{field.name: getattr(options, field.name) for field in fields(PackSettings)})


def _batches(run: Run, splits: TokenSplits, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Training batches of at least `tokens` tokens, in the order that the run's seed gives."""
    train = run.config.train
    rows = -(-tokens // train.seq_len)
    size = min(rows, train.batch_size)
    loader = training_loader(splits.train, batch_size=size, seq_len=train.seq_len, seed=train.seed)
    return islice(loader, -(-rows // size))


def _packed(
    packer: Packer, settings: PackSettings, batches: list[tuple[Tensor, Tensor]], options: PackOptions
) -> Packing:
    """The packing, within the limit."""
    elements = packer.elements(settings)
    if options.fit and options.limit is not None:
        few = list(islice(batches, -(-FIT_TOKENS // batches[0][0].numel())))

        def loss(packing: Packing) -> float:
            nats = mean_loss(packing.restored(packer.model), few)
            tell(
                f"--clip {packing.settings.clip:.2f} --embed-clip {packing.settings.embed_clip:.2f}: "
                f"{packing.size.total:,} bytes, {nats:.4f} nats a token on training text"
            )
            return nats

        return fit(packer.pack, loss, settings, elements, options.limit)
    packing = packer.pack(settings)
    if options.limit is not None and packing.size.exceeds(options.limit):
        raise packing.size.refusal(options.limit, bringing_under(packing, elements, options.limit))
    return packing


def _scores(run: Run, packing: Packing, splits: TokenSplits, options: PackOptions) -> dict[str, Any]:
    """Bits per byte of the run and of what comes out of the artifact, from the file where there is one."""
    if not options.check:
        return {}
    packed = packing.restored(run.model)
    if options.out is not None:
        packed = load_run(options.out, options.device).model
    context = run.config.train.seq_len
    settings = dict(context=context, stride=context, limit=options.check)
    before, after = (score(model, splits.valid, run.tokenizer, **settings) for model in (run.model, packed))
    return {
        "scored_tokens": before.tokens,
        "bytes_of": bytes_of(run.tokenizer),
        "bpb_before": before.bpb,
        "bpb_after": after.bpb,
    }


def _record(packing: Packing, scores: dict[str, Any], options: PackOptions, files: int) -> dict[str, Any]:
    return {
        "bytes": packing.size.total,
        "artifact_bytes": packing.size.artifact,
        "sections": dict(packing.encoded.sections),
        "code_bytes": packing.size.code,
        "code_files": files,
        "code": options.code,
        "limit": options.limit,
        "codec": packing.encoded.codec,
        "parameters": packing.parameters,
        "settings": asdict(packing.settings),
        **scores,
        "tensors": {
            name: {"kind": describe(treatment, packing.tensors[name]), "error": packing.errors[name]}
            for name, treatment in packing.treatments.items()
        },
    }


def _show(packing: Packing, scores: dict[str, Any], options: PackOptions, code_files: int) -> None:
    table = Table("kept as", "tensors", "elements", "worst error")
    table.add_column("of", overflow="fold")
    for row in summary(packing):
        error = f"{row['worst_error']:.2%}"
        table.add_row(row["kind"], str(row["tensors"]), f"{row['elements']:,}", error, row["worst"])
    PlainConsole().print(table)
    size, sections, settings = packing.size, packing.encoded.sections, packing.settings
    files, header = sections["files"], size.artifact - sections["files"] - sections["tensors"]
    print(
        f"artifact {size.artifact:,} bytes ({packing.encoded.codec}): tensors {sections['tensors']:,}, "
        f"configuration and tokenizer {files:,}, header {header:,}; "
        f"{size.artifact / packing.parameters:.3f} bytes a parameter"
    )
    print(f"code {size.code:,} bytes: {code_files} source files to load and score, {options.code}")
    limit = "no limit" if options.limit is None else f"limit {options.limit:,}"
    print(f"together {size.total:,} bytes, {limit}; clip {settings.clip:.2f}, {settings.embed_clip:.2f}")
    if scores:
        print(
            f"bits per byte of {scores['bytes_of']} on {scores['scored_tokens']:,} validation tokens: "
            f"{scores['bpb_before']:.4f}, "
            f"packed {scores['bpb_after']:.4f}"
        )
    if options.out is not None:
        print(f"artifact: {options.out}")
