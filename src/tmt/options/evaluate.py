"""The options of `tmt eval`."""

from dataclasses import dataclass, field
from importlib.util import find_spec

from tmt.errors import InputError
from tmt.options import RunOptions
from tmt.run_folder import check_run
from tmt.text import Part, require_corpus


@dataclass(frozen=True)
class EvaluateOptions(RunOptions):
    """Score a run on held-out text: loss, bits per byte, depth by kind of token, compute, leak probe."""

    run: str
    """Run folder, or an artifact of tmt pack."""
    data: str | None = None
    """Corpus, as in tmt train; default: the run's own."""
    split: Part | None = None
    """Which part of the corpus, or all of it; default: test of the run's own corpus (a copy of it is its own)
    and of one that names its splits, all of any other text."""
    context: int | None = None
    """Tokens the model reads at once; default: the length it was trained on, with --harness its longest."""
    stride: int | None = None
    """Tokens scored per window; less than the context gives every token more past. Default: the context."""
    limit: int | None = None
    """Score only so many tokens; with --harness, so many samples of each task."""
    batch_size: int = 8
    """Windows at once."""
    raw_bytes: bool = False
    """Bits per byte of the text before the tokenizer rewrote it, not of what its tokens can spell."""
    harness: str | None = None
    """Tasks of the lm-evaluation-harness to score instead, with commas between: names, groups, patterns."""
    harness_path: str | None = None
    """Folder of YAML files with harness tasks of your own."""
    set: list[str] = field(default_factory=list)
    """Override a model field that shapes no weight, model.field=value; repeatable."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    json: bool = False
    """One JSON object on one line instead of tables."""

    def __post_init__(self):
        """Refuse what contradicts itself."""
        if self.harness is None and self.harness_path is not None:
            raise InputError("--harness-path gives no task by itself; name some with --harness")
        if self.harness is not None and (self.data is not None or self.split is not None):
            raise InputError("the tasks of --harness bring their own data; leave out --data and --split")
        if self.harness is not None and self.raw_bytes:
            raise InputError("--raw-bytes is for text of your own; leave it out with --harness")
        if self.harness is not None and find_spec("lm_eval") is None:
            raise InputError('--harness needs lm-eval: pip install "temporalmesh-transformer[eval]"')

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        self.agree(self.run)
        check_run(self.run, self.set)
        if self.data is not None:
            require_corpus(self.data)
