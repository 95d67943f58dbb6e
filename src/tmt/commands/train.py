"""`tmt train`: from a corpus to a run folder with a trained model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from tmt.checkpoint import checked_device, load_run, load_weights
from tmt.commands.report import tell, tell_unspelt
from tmt.commands.summary import print_summary
from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.evaluate import score
from tmt.evaluate.text_size import spelt_share
from tmt.model import build_model
from tmt.model.base import LanguageModel
from tmt.options.train import TrainOptions, resolve
from tmt.run_folder import create_folder, load_config, load_run_tokenizer, require_new_run
from tmt.text import SPLITS
from tmt.tokens import Source, Tokenizer, TokenSplits, load_tokenizer
from tmt.training.distributed import Ranks
from tmt.training.log import MetricsLog, Progress, summary_writer
from tmt.training.loop import Trainer
from tmt.training.optimizers import describe, parameter_groups
from tmt.writer_lock import sole_writer


def train(options: TrainOptions) -> None:
    """Run the command."""
    device = checked_device(options.device)
    if options.tensorboard:
        summary_writer()
    with sole_writer(options.folder):
        if not options.resume:
            require_new_run(options.folder)  # once more: another process may have been faster
        _train(options, device)


def _train(options: TrainOptions, device: torch.device) -> None:
    folder = options.folder
    before = load_config(folder) if options.resume else None  # as every rank finds it, before one changes it
    config, tokenizer, splits = _resume(options) if options.resume else _begin(options)
    ranks = Ranks(device)
    torch.manual_seed(config.train.seed)
    model = build_model(config.arch, config.model)
    if ranks.first and not options.resume:
        create_folder(folder, config, tokenizer)
    ranks.wait()
    saved = options.resume and Trainer.state_path(folder).exists()
    if config.init_from and not saved:
        load_weights(model, Path(config.init_from))
    trainer = Trainer(config, model, splits.train, folder, ranks, _validation(config, tokenizer, splits))
    if saved:
        trainer.resume()
    if before is not None and before.train != config.train:
        _extend(trainer, before)
    if ranks.first:
        _introduce(config, model, splits, tokenizer)
    finished = _run(trainer, options)
    if ranks.first and finished:
        run = load_run(folder, str(ranks.device))
        print_summary(run, splits, trainer.tokens // ranks.size)
    elif ranks.first:
        tell(f"stopped at step {trainer.step}; go on with: tmt train --out {folder} --resume")
    ranks.close()
    if not finished:
        raise KeyboardInterrupt


def _begin(options: TrainOptions) -> tuple[RunConfig, Tokenizer, TokenSplits]:
    """Configuration, tokenizer and tokens of a new run; every mistake is found before the long work."""
    first = resolve(options, vocab_size=2)
    source = first.data.open()
    if options.init_from:
        tokenizer = load_run_tokenizer(options.init_from)
    else:
        tokenizer = source.tokenizer(first.data.tokenizer)
    config = resolve(options, tokenizer.vocab_size)
    splits = _tokens(config, tokenizer, source)
    return replace(config, corpus=splits.key), tokenizer, splits


def _resume(options: TrainOptions) -> tuple[RunConfig, Tokenizer, TokenSplits]:
    """The same of an old run."""
    config = options.going_on()
    tokenizer = load_tokenizer(options.folder)
    source = config.data.open()
    splits = _tokens(config, tokenizer, source)
    if config.corpus not in (None, splits.key):
        raise InputError(
            f"the tokens of {source.name} are not those that {options.folder} began with; bring the "
            f"text back, or start a new run with --init-from {options.folder}"
        )
    return config, tokenizer, splits


def _extend(trainer: Trainer, before: RunConfig) -> None:
    """Have a run go on with another budget or batch, which its folder notes.

    Raises:
        InputError: the budget is another, and used up.
    """
    train = trainer.config.train
    if trainer.share >= 1 and train.amount != getattr(before.train, train.budget):
        raise InputError(
            f"train.{train.budget}={train.amount:g} is used up: the run has taken {trainer.step} steps in "
            f"{trainer.elapsed / 60:.2f} minutes; name more"
        )
    trainer.plan_evaluation()
    if trainer.ranks.first:
        trainer.config.save(trainer.folder)


def _tokens(config: RunConfig, tokenizer: Tokenizer, source: Source) -> TokenSplits:
    """The corpus as tokens, long enough to train and evaluate on."""
    splits = source.tokens(tokenizer)
    for split in SPLITS:
        length = len(getattr(splits, split))
        if length <= config.train.seq_len:
            raise InputError(
                f"the {split} split of {source.name} has {length} tokens, too few for seq_len="
                f"{config.train.seq_len}; give more text or a shorter --seq-len"
            )
    return splits


def _validation(
    config: RunConfig, tokenizer: Tokenizer, splits: TokenSplits
) -> Callable[[LanguageModel], float]:
    train = config.train

    def validate(model: LanguageModel) -> float:
        result = score(
            model,
            splits.valid,
            tokenizer,
            context=train.seq_len,
            stride=train.seq_len,
            limit=train.eval_tokens,
            progress=False,
        )
        return result.nats

    return validate


def _introduce(config: RunConfig, model: LanguageModel, splits: TokenSplits, tokenizer: Tokenizer) -> None:
    """Say what is about to be trained on what."""
    for line in splits.notes:
        tell(line)
    for split, documents in splits.documents.items():
        size = f", {splits.bytes[split]:,} bytes" if splits.bytes else ""
        tell(f"{split}: {documents:,} documents, {len(getattr(splits, split)):,} tokens{size}")
    if splits.test is splits.valid:
        tell("test: the validation split")
    tell(f"tokenizer {config.data.tokenizer}: {tokenizer.vocab_size:,} ids")
    tell_unspelt({split: spelt_share(splits, split, tokenizer) for split in splits.documents})
    tell(f"{config.arch} {config.preset}: {model.param_count():,} parameters")
    for line in describe(parameter_groups(model, config.optim)):
        tell(f"  {line}")
    for line in model.notices(config.train.seq_len):
        tell(line)


def _run(trainer: Trainer, options: TrainOptions) -> bool:
    log = MetricsLog(options.folder, trainer.step, options.tensorboard) if trainer.ranks.first else None
    progress = Progress(trainer.ranks.first, trainer.share)
    try:
        return trainer.run(progress, log)
    finally:
        progress.close()
        if log is not None:
            log.close()
