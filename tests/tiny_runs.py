"""What the tests that call commands share: a small text, options of tiny runs, what a command left."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

WORDS = [
    "the",
    "mesh",
    "of",
    "tokens",
    "sees",
    "no",
    "later",
    "one",
    "while",
    "a",
    "gate",
    "lets",
    "easy",
    "ones",
    "leave",
    "early",
    "on",
    "the",
    "way",
]

SMALL = {
    "tmt": [
        "--arch=tmt", "--set=model.d_model=32", "--set=model.n_heads=2", "--set=model.ffn_stream_dim=32",
        "--set=model.memory_anchors=4",
    ],
    "transformer": [
        "--arch=transformer", "--set=model.d_model=32", "--set=model.n_heads=2", "--set=model.ffn_dim=64",
    ],
    "toeplitz": [
        "--arch=toeplitz", "--set=model.d_model=32", "--set=model.n_heads=2", "--set=model.ffn_dim=64",
        "--set=model.kernel_length=32",
    ],
}  # fmt: skip
"""Options of `tmt train` that make a preset tiny."""

SHORT = ["--tokenizer=bytes", "--batch-size=2", "--seq-len=32", "--set=train.eval_tokens=256", "--device=cpu"]
"""Options of `tmt train` that make it quick."""


@dataclass
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of a command that was refused."""
        assert self.code == 2, f"exit code {self.code}\n{self.err}"
        (line,) = self.err.splitlines()
        assert line.startswith("tmt: error: ")
        assert self.out == ""
        return line.removeprefix("tmt: error: ")


def options_of(arch: str, corpus: Path, folder: Path) -> list[str]:
    """Options of `tmt train` for a tiny model; the budget is missing."""
    return [*SMALL[arch], *SHORT, f"--data={corpus}", f"--out={folder}"]


def text_of(documents: int, seed: int = 0) -> str:
    random = Random(seed)
    return "\n\n".join(" ".join(random.choices(WORDS, k=60)) + f" number {i}." for i in range(documents))
