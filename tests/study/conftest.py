from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny_runs import SMALL as TINY


@pytest.fixture
def study_file(corpus: Path, cache: Path, tmp_path: Path) -> Path:
    """A study of two runs of tiny models, each with one seed."""
    sizes = [option.removeprefix("--set=") for option in TINY["transformer"] if "--set" in option]
    content: dict[str, Any] = dict(
        about="Two rates.",
        base="slow",
        seeds=[1],
        budget={"tokens": 256},
        train=dict(
            arch="transformer", data=str(corpus), tokenizer="bytes", batch_size=2, seq_len=32, device="cpu",
            set=[*sizes, "model.n_layers=1", "train.eval_tokens=64", "train.save_every=1e-9"],
        ),
        runs={"slow": {}, "fast": {"lr": 0.05}},
        evaluations={"context 32": {"limit": 64}, "context 64": {"context": 64, "limit": 64}},
    )  # fmt: skip
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
