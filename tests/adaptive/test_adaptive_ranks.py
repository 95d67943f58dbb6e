"""Two processes under torchrun score a stream as one does. Run as a script, this file is one of them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_passes import MODELS, VOCAB, make_pass, nats, random_tokens, tiny_model

from tmt.adaptive.matching import make_matcher
from tmt.adaptive.memory_bank import MemoryBank
from tmt.adaptive.neural_cache import NeuralCache, NeuralCacheSettings
from tmt.adaptive.part import Part
from tmt.adaptive.score_first_training import ScoreFirstTraining, TrainingSettings
from tmt.adaptive.tap_in import TapIn, TapInSettings
from tmt.model.base import LanguageModel
from tmt.training.distributed import Ranks

MakeParts = Callable[[LanguageModel], list[Part]]
TOKENS = np.concatenate([random_tokens(60), random_tokens(50), random_tokens(40)])
"""They repeat."""


def nothing(model: LanguageModel) -> list[Part]:
    return []


def training(**settings: Any) -> MakeParts:
    chosen = TrainingSettings(lr=0.05, epochs=2, rank=4, **settings)
    return lambda model: [ScoreFirstTraining(model, chosen, 16)]


def memory(model: LanguageModel) -> list[Part]:
    return [MemoryBank(model, 16)]


def mixtures(model: LanguageModel) -> list[Part]:
    matcher = make_matcher("document", vocab_size=VOCAB, document_start=0, window=16, stride=8)
    return [
        NeuralCache(NeuralCacheSettings(entries=50)),
        TapIn(TapInSettings(mode="document", weights="learned"), matcher),
    ]


def mixed_training(model: LanguageModel) -> list[Part]:
    return [*training(pair_rows=64)(model), *mixtures(model)]


def everything(model: LanguageModel) -> list[Part]:
    return [*memory(model), *mixed_training(model)]


CASES: dict[str, tuple[str, int, MakeParts, torch.dtype]] = {
    **{variant: (variant, 149, nothing, torch.float32) for variant in MODELS},
    "one target": ("transformer", 1, nothing, torch.float32),
    "a short last window": ("transformer", 68, nothing, torch.float32),
    "all weights and pairs": ("transformer", 128, training(pair_rows=64), torch.float64),
    "steps on one sequence": ("transformer", 128, training(batch=1), torch.float64),
    "low rank": ("golf", 96, training(weights="lora"), torch.float64),
    "memory": ("plain", 128, memory, torch.float64),
    "mixtures": ("toeplitz", 128, mixtures, torch.float64),
    "mixtures, one target": ("toeplitz", 1, mixtures, torch.float32),
    "everything": ("plain", 128, everything, torch.float64),
    "everything in single precision": ("toeplitz", 149, mixed_training, torch.float32),
}
"""Model, targets, parts and precision: a long training would blow up the rounding of single precision."""


def scores(name: str, ranks: Ranks) -> dict[str, np.ndarray]:
    """The losses of a case, and what the model and the parts came to be."""
    variant, targets, make_parts, dtype = CASES[name]
    model = tiny_model(variant).to(dtype)
    parts = make_parts(model)
    losses = nats(make_pass(model, TOKENS, *parts, ranks=ranks, targets=targets).run())
    state = torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])
    gains = [part.figures()["gain_nats"] for part in parts if "gain_nats" in part.figures()]
    return {"losses": losses, "model": state.numpy(), "gains": np.array(gains)}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each of two processes found in every case."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*torchrun, __file__, str(folder)], env=environment, capture_output=True, text=True, timeout=180
    )
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_one(both: Path, name: str):
    expected = scores(name, Ranks(torch.device("cpu")))
    first, second = (np.load(both / f"{name}.{rank}.npz") for rank in range(2))
    for key, wanted in expected.items():
        assert np.array_equal(first[key], second[key]), key
        assert first[key].shape == wanted.shape
        tolerance = 1e-4 if CASES[name][-1] == torch.float32 else 1e-9
        np.testing.assert_allclose(first[key], wanted, rtol=0, atol=tolerance, err_msg=key)
    assert len(expected["losses"]) == CASES[name][1]


class Messages(Ranks):
    """One of two processes that hears only itself."""

    def __init__(self, rank: int):
        self.size, self.rank, self.device = 2, rank, torch.device("cpu")
        self.sent: list[tuple[torch.Size, torch.dtype]] = []

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        self.sent.append((tensor.shape, tensor.dtype))
        return tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("targets", [1, 17, 68, 149])
def test_processes_sum_the_same_shapes_of_the_same_type(targets: int, dtype: torch.dtype):
    both = [Messages(rank) for rank in range(2)]
    for ranks in both:
        model = tiny_model("toeplitz").to(dtype)
        nats(make_pass(model, TOKENS, *mixtures(model), ranks=ranks, targets=targets).run())
    assert both[0].sent == both[1].sent


def main(folder: Path) -> None:
    """Score every case as one of several processes."""
    torch.set_num_threads(1)
    ranks = Ranks(torch.device("cpu"))
    for name in CASES:
        np.savez(folder / f"{name}.{ranks.rank}.npz", **scores(name, ranks))
    ranks.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
