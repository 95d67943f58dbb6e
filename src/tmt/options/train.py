"""The options of `tmt train`, and the run configuration they resolve to."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tmt.budget import BUDGETS
from tmt.config import RECIPES, DataConfig, OptimConfig, RunConfig, TrainConfig, build, parse_overrides
from tmt.errors import InputError
from tmt.model.registry import ArchitectureName, architecture
from tmt.options import Options
from tmt.run_folder import load_config

DEFAULT_MINUTES = 5.0


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """Train a model on a text and keep it in a run folder."""

    arch: ArchitectureName = "tmt"
    """What is trained: the TemporalMesh Transformer, or a peer of it."""
    preset: str = "nano"
    """Size: nano, small, medium, base or large."""
    data: str = "sotu"
    """Corpus: sotu (embedded), a .txt/.jsonl/.jsonl.gz/.parquet file or a folder of them, a folder of token
    files (*_train_*.bin, *_val_*.bin), wikitext-2, wikitext-103, c4, tinystories, or a hub data set as
    owner/name."""
    text_field: str = "text"
    """Field of JSON lines and parquet files that holds the text."""
    max_bytes: int | None = None
    """Read at most this many bytes of text."""
    tokenizer: str = "auto"
    """bytes, bpe:N, sp:N (SentencePiece), a tokenizer file, or hf:NAME; auto: that of the token files, for
    text bpe:4096."""
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
    """Peak learning rate, if not the recipe's."""
    seed: int = 42
    """Seed of weights, data order and dropout."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Number format of the products; auto: bf16 where the machine has it."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    out: Path | None = None
    """Run folder; default runs/ARCH-PRESET."""
    resume: bool = False
    """Continue the run in the folder, exactly where it stopped."""
    init_from: Path | None = None
    """Start from the weights and tokenizer of another run or of an artifact."""
    tensorboard: bool = False
    """Also write TensorBoard files into the run folder."""
    set: list[str] = field(default_factory=list)
    """Any field by name, repeatable: model.graph_k=12, optim.weight_decay=0.2, train.eval_every=0.05."""
    model: dict[str, Any] = field(default_factory=dict)
    """Model fields, in a recipe file."""
    optim: dict[str, Any] = field(default_factory=dict)
    """Optimiser fields, in a recipe file."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or Path("runs") / f"{self.arch}-{self.preset}"

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if self.resume:
            if self.folder.is_file():
                raise InputError(
                    f"{self.folder} holds no training state; start from its weights with --init-from"
                )
            load_config(self.folder).check_unchanged(given_fields(self, given))
            return
        if (self.folder / "config.yaml").exists():
            raise InputError(
                f"{self.folder} holds a run already; add --resume, or name another folder with --out"
            )
        if self.init_from is None or not self.init_from.is_file():
            resolve(self, vocab_size=2).data.check()


def given_fields(options: TrainOptions, given: frozenset[str]) -> dict[str, Any]:
    """The given options as dotted fields of a RunConfig."""
    sections = {"data": "data.source", "lr": "optim.lr"}
    sections |= dict.fromkeys(("arch", "preset", "recipe", "init_from"), "")
    sections |= {name: f"data.{name}" for name in ("text_field", "max_bytes", "tokenizer")}
    train = ("steps", "minutes", "batch_size", "seq_len", "accumulate", "seed", "precision")
    sections |= {name: f"train.{name}" for name in train}
    fields = {sections[name] or name: getattr(options, name) for name in given if name in sections}
    for section, values in _overrides(options).items():
        fields |= {f"{section}.{name}": value for name, value in values.items()}
    return fields


def resolve(options: TrainOptions, vocab_size: int) -> RunConfig:
    """Preset, recipe, flags and overrides, in rising order, as one configuration."""
    arch, overrides = architecture(options.arch), _overrides(options)
    recipe = RECIPES[options.recipe]
    if "vocab_size" in overrides["model"]:
        raise InputError("model.vocab_size comes from the tokenizer; choose another --tokenizer instead")
    if options.init_from:
        source = load_config(options.init_from)
        if source.arch != options.arch:
            raise InputError(f"--init-from {options.init_from} is a {source.arch}, not a {options.arch}")
        start = asdict(source.model)
    else:
        start = {**asdict(arch.configure(options.preset, {})), **recipe["model"]}
    model = {**start, **overrides["model"], "vocab_size": vocab_size}
    optim = {**recipe["optim"], **_learning_rate(options, overrides["optim"]), **overrides["optim"]}
    names = ("steps", "minutes", "batch_size", "seq_len", "accumulate", "seed", "precision")
    train = recipe["train"] | {name: getattr(options, name) for name in names} | overrides["train"]
    if all(train.get(name) is None for name in BUDGETS):
        train["minutes"] = DEFAULT_MINUTES
    data = dict(source=options.data, text_field=options.text_field, max_bytes=options.max_bytes)
    config = RunConfig(
        arch=options.arch,
        preset=options.preset,
        recipe=options.recipe,
        model=build(arch.config, model, f"{options.arch} model"),
        data=build(DataConfig, {**data, "tokenizer": options.tokenizer}, "data"),
        optim=build(OptimConfig, optim, "optim"),
        train=build(TrainConfig, train, "train"),
        init_from=None if options.init_from is None else str(options.init_from),
    )
    if config.train.seq_len > config.model.longest:
        raise InputError(
            f"seq_len={config.train.seq_len} exceeds the model's {config.model.limit}; "
            "shorten it, or --set a larger one"
        )
    return config


def _learning_rate(options: TrainOptions, overrides: dict[str, Any]) -> dict[str, float]:
    """What --lr sets: the rate of the matrices, and of everything where AdamW trains everything."""
    if options.lr is None:
        return {}
    optimizer = overrides.get("optimizer", RECIPES[options.recipe]["optim"].get("optimizer"))
    names = ("lr", "adamw_lr", "small_lr") if optimizer == "adamw" else ("lr",)
    return dict.fromkeys(names, options.lr)


def _overrides(options: TrainOptions) -> dict[str, dict[str, Any]]:
    """The overrides of a recipe file, then those of --set."""
    sections = parse_overrides(options.set)
    sections["model"] = {**options.model, **sections["model"]}
    sections["optim"] = {**options.optim, **sections["optim"]}
    return sections
