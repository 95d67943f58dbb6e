"""A score that is killed, stopped or told to hurry, and goes on to the same total."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_passes import VOCAB, random_tokens, tiny_model

from tmt.adaptive import NeuralCacheSettings, PassSettings, ScoreSettings, TapInSettings, TrainingSettings
from tmt.adaptive.part import Chunk, Part
from tmt.adaptive.session import TARGET, Session, identity
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.training.distributed import Ranks

TOKENS = random_tokens(300)
SETTINGS = ScoreSettings(
    cut=PassSettings(window=16, stride=8, chunk=32, batch_size=3),
    training=TrainingSettings(lr=0.05, pair_rows=64),
    memory=True,
    cache=NeuralCacheSettings(entries=50),
    tap_in=TapInSettings(mode="document", weights="learned"),
)


class StopAfter(Part):
    """Does something when so many chunks are scored."""

    name = "stop"

    def __init__(self, chunks: int, action: Any):
        self._left, self._action = chunks, action

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        self._left -= 1
        if self._left == 0:
            self._action()

    def restore(self, state: Any) -> None:
        self._left = 0


def session(
    folder: Path | None,
    *spies: Part,
    model: LanguageModel | None = None,
    settings: ScoreSettings = SETTINGS,
    tokens: np.ndarray = TOKENS,
    size: int = 2,
    document_start: int = 0,
) -> Session:
    model = tiny_model("plain") if model is None else model
    scoring = settings.make_pass(model, tokens, document_start, Ranks(torch.device("cpu")))
    scoring.parts = [*scoring.parts, *spies]

    def sizes(low: int, high: int) -> np.ndarray:
        return np.full(high - low, size)

    return Session(scoring, sizes, folder, identity(scoring, model, settings, document_start, sizes))


@pytest.fixture(scope="module")
def whole() -> Session:
    whole = session(None)
    whole.run("whole")
    return whole


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def crash() -> None:
    raise RuntimeError("the power went")


@pytest.mark.parametrize(("action", "error"), [(interrupt, KeyboardInterrupt), (crash, RuntimeError)])
def test_an_interrupted_score_arrives_at_the_same_total(
    action: Any, error: type[BaseException], whole: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tmt.adaptive.session.SAVE_EVERY", 0.0)
    with pytest.raises(error):
        session(tmp_path, StopAfter(4, action)).run("first")
    second = session(tmp_path, StopAfter(0, crash))
    assert second.progress.chunks == (4 if action is interrupt else 3)
    second.run("second")
    assert second.complete
    assert second.progress.nats[:-1] == whole.progress.nats
    assert second.progress.targets == len(TOKENS) - 1
    targets = np.fromfile(tmp_path / "targets.bin", TARGET)
    assert targets["nats"].sum() == pytest.approx(whole.progress.nats[-1], rel=1e-12)
    assert targets["bytes"].sum() == second.progress.bytes == 2 * (len(TOKENS) - 1)
    assert second.figures["tap_in"] == whole.figures["tap_in"]


def test_a_finished_score_is_read_again(tmp_path: Path, whole: Session):
    session(tmp_path).run("once")
    again = session(tmp_path, StopAfter(1, crash))
    again.run("again")
    assert again.complete
    assert again.progress.nats == whole.progress.nats
    assert again.figures == whole.figures


def test_the_time_ends_a_score_at_a_chunk(tmp_path: Path, whole: Session):
    hurried = session(tmp_path)
    hurried.run("hurried", minutes=1e-9)
    assert not hurried.complete
    assert hurried.progress.targets == 32
    again = session(tmp_path)
    again.run("again", minutes=1e-9)
    assert again.progress.targets == 32
    more = session(tmp_path)
    more.run("more", minutes=10)
    assert more.complete
    assert more.progress.nats == whole.progress.nats


def test_another_model_or_other_settings_are_refused(tmp_path: Path):
    session(tmp_path).run("one")
    with pytest.raises(InputError, match="another model"):
        session(tmp_path, model=tiny_model("plain", graph_k=1))
    with pytest.raises(InputError, match="name a new --out"):
        session(tmp_path, settings=SETTINGS.having("cache"))


def test_a_score_is_known_by_the_tokens_and_bytes_that_were_scored(tmp_path: Path):
    session(tmp_path).run("one")
    assert session(tmp_path, tokens=TOKENS.copy()).complete
    other = TOKENS.copy()
    other[-1] = (other[-1] + 1) % VOCAB
    with pytest.raises(InputError, match="another model, stream"):
        session(tmp_path, tokens=other)
    with pytest.raises(InputError, match="another model, stream"):
        session(tmp_path, size=3)
    with pytest.raises(InputError, match="another model, stream"):
        session(tmp_path, document_start=1)  # another separator: documents begin elsewhere


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        session(tmp_path / "file" / "score")


def test_variants_switch_parts_on_and_off():
    assert SETTINGS.parts == ("training", "memory", "cache", "tap_in")
    assert SETTINGS.having("memory").parts == ("memory",)
    assert SETTINGS.static().parts == ()
    assert SETTINGS.static().cut.stride == 16
    variants = {name: settings.parts for name, settings in SETTINGS.variants().items()}
    assert variants["sliding"] == ()
    assert variants["sliding + cache"] == ("cache",)
    assert variants["all but cache"] == ("training", "memory", "tap_in")
    assert len(variants) == 1 + 4 + 4
    assert [*SETTINGS.having("cache").variants()] == ["sliding"]


def test_the_model_that_was_given_is_left_alone():
    model = tiny_model("plain")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for _ in SETTINGS.make_pass(model, TOKENS, 0, Ranks(torch.device("cpu"))).run():
        pass
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert model.pairs is None
    assert model.config.vocab_size == VOCAB
