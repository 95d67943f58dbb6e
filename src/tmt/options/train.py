"""The options of `tmt train`, and the run configuration they resolve to."""

from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tmt.budget import BUDGETS
from tmt.config import DataConfig, OptimConfig, RunConfig, TrainConfig, build
from tmt.errors import InputError
from tmt.model.registry import architecture
from tmt.options import RunOptions, refuse_unused
from tmt.options.layers import Layer, merged
from tmt.overrides import section_of
from tmt.recipes import RECIPES
from tmt.run_folder import load_config, must_be_opened, require_history, require_new_run
from tmt.writer_lock import require_no_writer

DEFAULT_MINUTES = 5.0


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Train a model on a text and keep it in a run folder."""

    arch: str = "tmt"
    """What is trained: tmt, toeplitz, triangular (masked mixer), hyena (gated long convolution), golf (of
    parameter golf), transformer (dense), or your own: file.py, file.py:Name, or what a package brings."""
    preset: str = "nano"
    """Size: nano, small, medium, base or large."""
    data: str = "sotu"
    """Corpus: sotu (embedded), a file of text (.txt, .md, .rst) or of rows (.jsonl, .json, .csv, .tsv; these
    also .gz or .zst; .parquet), a folder of them, a folder of token files (*_train_*.bin, *_val_*.bin),
    wikitext-2, wikitext-103, c4, tinystories, or a hub data set as owner/name."""
    text_field: str = "text"
    """Field of JSON, CSV and parquet files that holds the text."""
    max_bytes: int | None = None
    """Read at most this many bytes of text."""
    separator: str | None = None
    """What parts documents wherever it stands; default: lines <|endoftext|> and form feeds in text files."""
    on_bad_row: Literal["stop", "skip", "replace"] = "stop"
    """At a row without text or not in UTF-8: stop, leave it out, or replace what is not UTF-8."""
    follow_links: bool = False
    """Also read what links in a folder point to outside of it."""
    valid_data: str | None = None
    """Text that is the validation split, all of it; what the corpus would have held out is trained on."""
    test_data: str | None = None
    """Text that is the test split, likewise."""
    tokenizer: str = "auto"
    """bytes, bpe:N, sp:N (SentencePiece), sp:N:nfkc (the record's, which rewrites text), a tokenizer file, or
    hf:NAME; auto: that of the token files, for text bpe:4096, or as many as it yields."""
    steps: int | None = None
    """Optimiser steps; instead of minutes."""
    minutes: float | None = None
    """Minutes of training, evaluation not counted; 5 when neither is given."""
    batch_size: int = 8
    """Sequences per micro-batch and process."""
    seq_len: int = 256
    """Tokens per sequence."""
    accumulate: int = 1
    """Micro-batches per optimiser step."""
    recipe: Literal["modern", "paper", "golf"] = "modern"
    """modern: Muon, weight averaging; paper: TMT's published AdamW settings; golf: Muon as in the
    parameter-golf records."""
    lr: float | None = None
    """Peak learning rate, if not the recipe's: under Muon of the matrices, the rest has optim.adamw_lr and
    optim.small_lr; of everything where AdamW trains it."""
    seed: int = 42
    """Seed of weights, data order and dropout."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Number format of the products; auto: bf16 where the machine has it."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    out: Path | None = None
    """Run folder; default runs/ARCH-PRESET."""
    resume: bool = False
    """Continue the run in the folder, exactly where it stopped. Another budget (--steps, --minutes) extends a
    run, finished or not: its rates are from then on those of a run of that length. --batch-size and
    --accumulate may be others; the text goes on where it was."""
    init_from: Path | None = None
    """Start from the weights of another run or of an artifact, with its tokenizer, preset and model."""
    tensorboard: bool = False
    """Also write TensorBoard files into the run folder."""
    set: list[str] = field(default_factory=list)
    """Any field by name, repeatable, above all else: model.graph_k=12, optim.weight_decay=0.2."""
    model: dict[str, Any] = field(default_factory=dict)
    """Model fields, in a recipe file."""
    optim: dict[str, Any] = field(default_factory=dict)
    """Optimiser fields, in a recipe file."""
    train: dict[str, Any] = field(default_factory=dict)
    """Fields of the course of training, in a recipe file."""

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """What was given: by each file, then on the command line; of options made in Python, no defaults."""
        usual = type(self)()
        names = [f.name for f in fields(self)]
        return ({n: getattr(self, n) for n in names if getattr(self, n) != getattr(usual, n)},)

    @property
    def given(self) -> frozenset[str]:
        """Names of the options in any of the layers."""
        return frozenset(name for layer in self.layers for name in layer)

    @property
    def folder(self) -> Path:
        """The run folder."""
        if self.out is not None:
            return self.out
        source = None if self.init_from is None else load_config(self.init_from)
        return Path("runs") / f"{architecture(self.arch).label}-{_preset(self, source)}"

    def _wanted(self) -> dict[str, Any]:
        """What was given, by dotted name, the architecture as run folders name it."""
        fields = merged({}, self.layers)
        return fields | ({"arch": architecture(fields["arch"]).name} if "arch" in fields else {})

    def going_on(self) -> RunConfig:
        """The configuration of the run to resume, with what may change as it is wanted now."""
        return load_config(self.folder).extended(self._wanted())

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if not self.resume and self.init_from is None:
            refuse_unused(given, ("trust",), "no run is opened without --resume or --init-from")
        self.agree(self.init_from, self.folder if self.resume else None)
        if self.resume:
            require_no_writer(self.folder)
            if self.folder.is_file():
                raise InputError(
                    f"{self.folder} holds no training state; start from its weights with --init-from"
                )
            self.going_on()
            require_history(self.folder)
            return
        artifact = self.init_from is not None and must_be_opened(self.init_from)
        if not artifact:
            resolve(self, vocab_size=2).data.check()
        if not artifact or self.out is not None:
            require_no_writer(self.folder)
            require_new_run(self.folder)


def resolve(options: TrainOptions, vocab_size: int) -> RunConfig:
    """The configuration that the options come to, for a tokenizer of so many tokens.

    Raises:
        InputError: a value is bad, contradicts another, or was given and has no effect; a run to start from
            is not there, or does not fit.
    """
    source = None if options.init_from is None else load_config(options.init_from)
    said = merged({}, options.layers)
    if "model.vocab_size" in said:
        raise InputError("model.vocab_size comes from the tokenizer; choose another --tokenizer instead")
    values = merged(_start(options, source), options.layers)
    values["model.vocab_size"] = vocab_size
    if source is not None:
        _require_inherited(options, source, said.get("data.tokenizer", "auto"))
        values["data.tokenizer"] = source.data.tokenizer
    if all(values.get(f"train.{name}") is None for name in BUDGETS):
        values["train.minutes"] = DEFAULT_MINUTES
    arch = architecture(options.arch)
    config = RunConfig(
        arch=arch.name,
        preset=_preset(options, source),
        recipe=options.recipe,
        model=build(arch.config, section_of(values, "model"), f"{arch.label} model"),
        data=build(DataConfig, section_of(values, "data"), "data"),
        optim=build(OptimConfig, section_of(values, "optim"), "optim"),
        train=build(TrainConfig, section_of(values, "train"), "train"),
        init_from=None if options.init_from is None else str(options.init_from),
        code=arch.code,
    )
    config.require_effect(said)
    if config.train.seq_len > config.model.longest:
        raise InputError(
            f"seq_len={config.train.seq_len} exceeds the model's {config.model.limit}; "
            "shorten it, or --set a larger one"
        )
    return config


def _start(options: TrainOptions, source: RunConfig | None) -> dict[str, Any]:
    """Preset and recipe as dotted fields; in their place the model of the run that is started from.

    That one changes by a recipe only where one is named.
    """
    recipe = RECIPES[options.recipe]
    if source is None:
        model = asdict(architecture(options.arch).configure(options.preset, {})) | recipe["model"]
    else:
        model = asdict(source.model) | (recipe["model"] if "recipe" in options.given else {})
    sections = {**recipe, "model": model}
    return {f"{section}.{name}": value for section, part in sections.items() for name, value in part.items()}


def _preset(options: TrainOptions, source: RunConfig | None) -> str:
    """The size that was named, or that of the run that is started from."""
    return options.preset if source is None or "preset" in options.given else source.preset


def _require_inherited(options: TrainOptions, source: RunConfig, tokenizer: str) -> None:
    """InputError where an option asks for another model or tokenizer than those that are started from."""
    wanted = {"arch": architecture(options.arch).name, "preset": _preset(options, source)}
    own = {"arch": source.arch, "preset": source.preset}
    if tokenizer != "auto":
        wanted["tokenizer"], own["tokenizer"] = tokenizer, source.data.tokenizer
    for name, value in wanted.items():
        if value != own[name]:
            raise InputError(
                f"--init-from {options.init_from} brings its own {name}: say --{name} {own[name]}, "
                f"not {value}"
            )
