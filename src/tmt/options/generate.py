"""The options of `tmt generate`."""

from dataclasses import dataclass, field

from tmt.errors import InputError
from tmt.options import RunOptions, refuse_unused
from tmt.run_folder import check_run


@dataclass(frozen=True)
class GenerateOptions(RunOptions):
    """Continue one or several prompts; a single one is written as it comes."""

    run: str
    """Run folder, or an artifact of tmt pack."""
    prompt: list[str] = field(default_factory=list)
    """Text to continue, repeatable; "" starts a document."""
    max_new_tokens: int = 200
    """Tokens to write at most; a document that ends stops earlier."""
    temperature: float = 0.8
    """Below 1 keeps to likely tokens; 0 always takes the likeliest."""
    top_k: int | None = None
    """Choose among so many likeliest tokens."""
    top_p: float | None = None
    """Choose among the likeliest tokens that hold this much probability."""
    min_p: float | None = None
    """Choose among tokens with at least this share of the likeliest one's probability."""
    repetition_penalty: float = 1.0
    """Above 1 makes tokens that came already, the prompt's included, less likely."""
    stop: list[str] = field(default_factory=list)
    """End a text before this string, repeatable."""
    seed: int = 0
    """Seed of the choices."""
    recrop: bool = False
    """Beyond the model's longest sequence, read the last tokens that fit anew for every new one."""
    set: list[str] = field(default_factory=list)
    """Override a model field that shapes no weight, model.field=value; repeatable."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    json: bool = False
    """One JSON object a prompt instead of text."""

    def __post_init__(self):
        """Refuse to continue nothing."""
        if not self.prompt:
            raise InputError("nothing to continue: give a --prompt")

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if self.temperature == 0:
            refuse_unused(given, ("top_k", "top_p", "min_p"), "temperature 0 takes the likeliest token")
        self.agree(self.run)
        check_run(self.run, self.set)
