"""A pass that stopped between two chunks goes on, in new objects, as if it had not."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_passes import Spy, make_pass, nats, random_tokens, tiny_model

from tmt.adaptive.memory_bank import MemoryBank
from tmt.adaptive.part import Part
from tmt.adaptive.score_first_training import ScoreFirstTraining, TrainingSettings
from tmt.adaptive.scoring import AdaptivePass
from tmt.model.base import LanguageModel
from tmt.training.state import load_state, save_state

TOKENS = random_tokens(110)


def training(model: LanguageModel, **settings: Any) -> ScoreFirstTraining:
    return ScoreFirstTraining(model, TrainingSettings(lr=0.1, epochs=2, batch=1, rank=4, **settings), 16)


PARTS: dict[str, tuple[str, Callable[[LanguageModel], list[Part]]]] = {
    "all and pairs": ("transformer", lambda model: [training(model, pair_rows=64)]),
    "controls": ("golf", lambda model: [training(model, weights="controls")]),
    "low rank and pairs": ("golf", lambda model: [training(model, weights="lora", pair_rows=64)]),
    "memory": ("plain", lambda model: [MemoryBank(model, 16)]),
    "memory and all": ("plain", lambda model: [training(model), MemoryBank(model, 16)]),
}


def fresh(name: str) -> AdaptivePass:
    variant, make_parts = PARTS[name]
    model = tiny_model(variant)
    return make_pass(model, TOKENS, *make_parts(model))


@pytest.mark.parametrize("name", PARTS)
def test_the_chunks_left_are_scored_bit_for_bit(name: str, tmp_path: Path):
    """Chunks 2 to 4 from a state in memory, the last one from a state in a file."""
    whole, losses, states = fresh(name), [], []
    for chunk in whole.run():
        losses.append(nats([chunk]))
        states.append({"parts": deepcopy([part.state() for part in whole.parts])})
    save_state(tmp_path / "state", states[2])
    for done, saved in ((1, states[0]), (3, load_state(tmp_path / "state"))):
        later, expected = fresh(name), np.concatenate(losses[done:])
        for part, known in zip(later.parts, saved["parts"], strict=True):
            part.restore(known)
        later.reread(done)
        assert np.array_equal(nats(later.run(done)), expected)
        assert [part.figures() for part in later.parts] == [part.figures() for part in whole.parts]
    assert not np.array_equal(nats(fresh(name).run(done)), expected)


def test_parts_hear_again_what_they_had_as_ids():
    class Reader(Spy):
        def reread(self, ids: np.ndarray) -> None:
            self.ids += ids.tolist()

    stopped, later = Reader(), Reader()
    for _ in zip(range(3), make_pass(tiny_model("toeplitz"), TOKENS, stopped).run(), strict=False):
        pass
    make_pass(tiny_model("toeplitz"), TOKENS, later).reread(3)
    assert later.ids == stopped.ids == TOKENS[:96].tolist()
