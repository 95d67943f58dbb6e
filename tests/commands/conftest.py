from pathlib import Path

import pytest

from tiny_models import BYTES, tiny
from tmt.checkpoint import save_weights
from tmt.config import DataConfig, OptimConfig, RunConfig, TrainConfig

SENTENCE = "The mesh of tokens sees no later one, while a gate lets easy ones leave early. "


def make_run(folder: Path, variant: str, corpus: Path) -> Path:
    """A run folder of an untrained model."""
    folder.mkdir()
    model = tiny(variant, max_seq_len=320)
    config = RunConfig(
        arch=variant if variant in ("transformer", "toeplitz") else "tmt",
        preset="nano",
        recipe="modern",
        model=model.config,
        data=DataConfig(source=str(corpus), tokenizer="bytes"),
        optim=OptimConfig(),
        train=TrainConfig(steps=1, seq_len=32),
    )
    config.save(folder)
    BYTES.save(folder)
    save_weights(model, folder)
    return folder


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("corpus") / "small.txt"
    file.write_text("".join(f"{SENTENCE * (1 + i % 3)}Number {i}.\n\n" for i in range(60)), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path) -> dict[str, str]:
    """Run folders by the variant of their model."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: str(make_run(folder / name, name, corpus_file)) for name in ("plain", "transformer", "toeplitz")
    }


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
