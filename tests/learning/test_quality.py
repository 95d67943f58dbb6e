"""Three hundred steps on the embedded corpus reach the loss they are known to reach."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result

pytest_plugins = ["command_line"]

REDUCED = [
    "--data=sotu", "--max-bytes=3000000", "--tokenizer=bpe:1024", "--steps=300", "--seq-len=128",
    "--set=model.d_model=96", "--set=model.n_heads=4", "--set=model.n_layers=3", "--set=train.eval_every=1",
    "--set=train.eval_tokens=1024", "--precision=fp32", "--device=cpu",
]  # fmt: skip
ARCHITECTURES = {
    "tmt": ["--set=model.ffn_stream_dim=192", "--set=model.target_depth=0.8"],
    "transformer": ["--set=model.ffn_dim=264"],
}
MEASURED = {"tmt": 1.767, "transformer": 1.984}
"""Bits per byte of the validation split; seed 42."""


@pytest.mark.learning
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_bits_per_byte(arch: str, tmt: Callable[..., Result], tmp_path: Path):
    folder = tmp_path / "run"
    assert tmt("train", f"--arch={arch}", *REDUCED, *ARCHITECTURES[arch], f"--out={folder}").code == 0
    result = tmt("eval", folder, "--split=valid", "--limit=20000", "--json", "--device=cpu")
    bits_per_byte = json.loads(result.out)["bpb"]
    assert bits_per_byte == pytest.approx(MEASURED[arch], rel=0.03)
