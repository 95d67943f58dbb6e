"""The options of `tmt score`."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.model.checks import require
from tmt.options import RunOptions, refuse_unused
from tmt.own_code import source_of
from tmt.run_folder import must_be_opened, require_writable, trained_config
from tmt.text import Part, require_corpus
from tmt.writer_lock import require_no_writer

CHUNK_WINDOWS = 16
"""Windows in a chunk where --chunk does not say otherwise."""


@dataclass(frozen=True)
class ScoreOptions(RunOptions):
    """Score a run in one pass that may learn as it goes: sliding windows, training, matching, a cache."""

    run: str
    """Run folder, or an artifact of tmt pack."""
    baseline: str | None = None
    """Another run or artifact to compare with: the same text, windows and parts, or refused."""
    data: str | None = None
    """Corpus, as in tmt train; default: the run's own."""
    split: Part | None = None
    """Which part of the corpus, or all of it; default: as in tmt eval."""
    window: int | None = None
    """Tokens the model reads at once; default: the length it was trained on."""
    stride: int | None = None
    """Targets scored per window, a divisor of it; less gives every target more past. Default: a quarter,
    or the divisor nearest to it."""
    chunk: int | None = None
    """Targets after which the parts learn, a multiple of the window; default: 16 windows."""
    ttt: Literal["none", "all", "controls", "lora"] = "none"
    """Train after every chunk on that chunk: all weights, gains and gates only, or low-rank updates."""
    ttt_lr: float = 0.005
    """Rate of that training in the first chunk; it falls with a cosine."""
    ttt_epochs: int = 3
    """Times that a chunk is read."""
    hash_embedding: int = 0
    """Rows of an embedding of token pairs that starts at zero and learns with --ttt; 0: none."""
    tap_in: Literal["none", "exact", "document"] = "none"
    """Match the text against its own past: in windows as the record did, or in documents, faster."""
    min_match: int = 1
    """Shortest match."""
    tap_in_weights: Literal["fixed", "learned"] = "learned"
    """How much a match counts: the record's constants, or learnt from the matches that were scored."""
    cache: int = 0
    """Hidden states of the past that are kept for the tokens that followed them; 0: no cache."""
    memory: bool = False
    """Stream a TMT's memory bank."""
    part: str | None = None
    """A part of your own, which comes last: mine.py, or mine.py:Name."""
    gains: bool = False
    """Also score every part by itself and all but every part."""
    audit: bool = False
    """First prove on a short stream that this combination keeps the rules, and print what was checked."""
    raw_bytes: bool = False
    """Bits per byte of the text before the tokenizer rewrote it, not of what its tokens can spell."""
    limit: int | None = None
    """Score only so many tokens."""
    minutes: float | None = None
    """Time for the adapted pass; it ends at the last chunk within it, the first at the least."""
    out: Path | None = None
    """Folder for the losses of all targets; the same command goes on from it after an interruption."""
    batch_size: int = 8
    """Windows at once."""
    set: list[str] = field(default_factory=list)
    """Override a model field that shapes no weight, model.field=value; repeatable."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    json: bool = False
    """One JSON object on one line instead of tables, and another for the baseline."""

    def __post_init__(self):
        """Refuse what contradicts itself."""
        if self.hash_embedding and self.ttt == "none":
            raise InputError("--hash-embedding starts at zero and learns with --ttt; add --ttt all")
        if self.minutes is not None:
            for name in ("gains", "baseline"):
                if getattr(self, name):
                    raise InputError(
                        f"--minutes ends a pass where the time is up, so that --{name} would compare others; "
                        "take --limit"
                    )
        if self.set and self.baseline is not None:
            raise InputError("--set would change the run and not the baseline; score each by itself")
        counts = ("window", "stride", "chunk", "ttt_epochs", "min_match", "limit", "minutes", "batch_size")
        for name in (*counts, "ttt_lr"):
            value = getattr(self, name)
            require(value is None or value > 0, self, name, "must be above zero")
        for name in ("hash_embedding", "cache"):
            require(getattr(self, name) >= 0, self, name, "must not be negative")

    def sizes(self, config: RunConfig) -> tuple[int, int, int]:
        """Window, stride and chunk for a run.

        Raises:
            InputError: they do not fit each other or the model.
        """
        model = config.model
        window = config.train.seq_len if self.window is None else self.window
        stride = _near_a_quarter(window) if self.stride is None else self.stride
        chunk = CHUNK_WINDOWS * window if self.chunk is None else self.chunk
        if window > model.longest:
            raise InputError(
                f"--window {window} must be in [1, {model.longest}]; the model has {model.limit}"
            )
        if window % stride:
            raise InputError(f"--stride {stride} must divide the window of {window} tokens")
        if chunk % window:
            raise InputError(f"--chunk {chunk} must be a multiple of the window, {window} tokens")
        return window, stride, chunk

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if self.ttt == "none":
            refuse_unused(given, ("ttt_lr", "ttt_epochs"), "nothing is trained without --ttt")
        if self.tap_in == "none":
            refuse_unused(given, ("min_match", "tap_in_weights"), "nothing is matched without --tap-in")
        if not (self.memory or self.cache or self.part) and self.ttt == self.tap_in == "none":
            refuse_unused(given, ("gains",), "no part is on")
        self.agree(self.run, self.baseline)
        if self.part is not None:
            source_of(self.part)
        for run, changes in ((self.run, self.set), (self.baseline, [])):
            if run is not None and not must_be_opened(run):
                self.sizes(trained_config(Path(run), changes))
        if self.out is not None:
            require_writable(self.out / "run" / "state")
            require_no_writer(self.out)
        if self.data is not None:
            require_corpus(self.data)


def _near_a_quarter(window: int) -> int:
    """The divisor of `window` nearest to a quarter of it, as a ratio."""
    divisors = (d for d in range(1, window + 1) if window % d == 0)
    return min(divisors, key=lambda d: abs(math.log(4 * d / window)))
