"""Every field of the course of training, and of its data, does what its line says."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trainers import make_trainer, run

from tmt.commands import train
from tmt.config import DataConfig
from tmt.errors import InputError
from tmt.tokens import make_tokenizer
from tmt.training import loop

MINUTE = 60.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a second after the last."""
    ticks = itertools.count()
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(ticks)))


def batches_of(trainer: loop.Trainer, steps: int = 1) -> list[Tensor]:
    """The inputs of every micro-batch of so many steps."""
    seen: list[Tensor] = []
    trainer.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    for _ in range(steps):
        trainer.take_step()
    return seen


@pytest.mark.shows("Budget", "steps", "minutes")
def test_a_run_ends_with_its_budget(tmp_path: Path, clock: None):
    by_steps, by_clock = (
        make_trainer(tmp_path / "a", steps=3),
        make_trainer(tmp_path / "b", minutes=5 / MINUTE),
    )
    run(by_steps)
    run(by_clock)
    assert by_steps.step == 3
    assert (by_clock.step, by_clock.elapsed) == (5, 5.0)


@pytest.mark.shows("TrainConfig", "priming")
def test_priming_steps_come_before_the_clock(tmp_path: Path, clock: None):
    trainer, ran = make_trainer(tmp_path, minutes=2 / MINUTE, priming=3), []
    trainer.model.register_forward_hook(lambda *_: ran.append(1))
    run(trainer)
    assert (trainer.step, len(ran)) == (2, 2 + 2 * 3)


@pytest.mark.shows("TrainConfig", "batch_size", "seq_len", "accumulate")
def test_a_step_reads_so_many_sequences(tmp_path: Path):
    batches = batches_of(make_trainer(tmp_path, steps=4, batch_size=3, seq_len=11, accumulate=2), steps=2)
    assert [batch.shape for batch in batches] == [(3, 11)] * 4
    assert len({tuple(batch.flatten().tolist()) for batch in batches}) == 4
    (line,) = run(make_trainer(tmp_path / "b", steps=1, batch_size=3, seq_len=11, accumulate=2))[:1]
    assert line["tokens"] == 3 * 11 * 2


@pytest.mark.shows("TrainConfig", "seed")
def test_a_seed_sets_weights_order_and_dropout(tmp_path: Path):
    first, again, other = (
        make_trainer(tmp_path, steps=4, seed=s, model=dict(dropout=0.3)) for s in (1, 1, 2)
    )
    assert torch.equal(first.model.embedding.weight, again.model.embedding.weight)
    assert not torch.equal(first.model.embedding.weight, other.model.embedding.weight)
    order, same, differs = (batches_of(trainer)[0] for trainer in (first, again, other))
    assert torch.equal(order, same)
    assert not torch.equal(order, differs)
    losses = []
    for seed in (1, 1, 2):
        trainer = make_trainer(tmp_path, steps=4, seed=seed, model=dict(dropout=0.3))
        losses.append(trainer.take_step().loss)
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.shows("TrainConfig", "precision")
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_products_are_made_in_the_format_asked_for(precision: str, dtype: torch.dtype, tmp_path: Path):
    trainer, formats = make_trainer(tmp_path, steps=2, precision=precision), set()
    trainer.model.blocks[0].ffn.register_forward_hook(lambda *parts: formats.add(parts[2].dtype))
    trainer.take_step()
    assert formats == {dtype}


@pytest.mark.shows("TrainConfig", "eval_every", "log_every")
def test_lines_and_scores_come_as_often_as_asked(tmp_path: Path):
    lines = run(make_trainer(tmp_path, steps=12, eval_every=0.25, log_every=4))
    assert [line["step"] for line in lines if "valid_nats" in line] == [3, 6, 9, 12]
    assert [line["step"] for line in lines if "loss" in line] == [4, 8, 12]


@pytest.mark.shows("TrainConfig", "eval_tokens")
def test_so_many_tokens_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer, limits = make_trainer(tmp_path, steps=2, eval_tokens=123), []

    class Nothing:
        valid, nats = None, 1.0

    monkeypatch.setattr(train, "score", lambda *_, limit, **options: limits.append(limit) or Nothing)
    assert train._validation(trainer.config, make_tokenizer("bytes"), Nothing)(trainer.model) == 1.0
    assert limits == [123]


@pytest.mark.shows("TrainConfig", "save_every")
@pytest.mark.parametrize(
    ("seconds", "steps"), [(0.5, [*range(1, 13), 12]), (4.0, [5, 10, 12]), (1000.0, [12])]
)
def test_the_state_is_saved_as_often_as_asked(
    seconds: float, steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """On a clock that a step moves by a second."""
    trainer, saved = make_trainer(tmp_path, steps=12, save_every=seconds), []
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(trainer.step))
    monkeypatch.setattr(trainer, "save", lambda: saved.append(trainer.step))
    run(trainer)
    assert saved == steps


def tokens_of(config: DataConfig) -> int:
    source = config.open()
    splits = source.tokens(source.tokenizer(config.tokenizer))
    return sum(len(split) for split in (splits.train, splits.valid, splits.test))


@pytest.mark.shows("DataConfig", "source", "tokenizer")
@pytest.mark.shows("Reading", "text_field", "max_bytes")
def test_tokens_come_from_the_text_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMT_CACHE", str(tmp_path / "cache"))
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"text": f"short {i:03}.", "body": f"a rather longer text, number {i:03}."} for i in range(100)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    bytes_of: dict[str, Any] = dict(source=str(corpus), tokenizer="bytes")
    short, long = (tokens_of(DataConfig(**bytes_of, text_field=field)) for field in ("text", "body"))
    assert (short, long) == (100 * 11, 100 * 34)
    assert tokens_of(DataConfig(**bytes_of, max_bytes=500)) == pytest.approx(550, abs=40)
    merged = tokens_of(DataConfig(source=str(corpus), tokenizer="bpe:270"))
    assert merged < 0.8 * short
    source = DataConfig(source=str(corpus)).open()
    assert source.tokenizer("bytes").vocab_size < source.tokenizer("bpe:270").vocab_size == 270


@pytest.mark.shows("Reading", "separator", "on_bad_row", "follow_links")
def test_text_is_read_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMT_CACHE", str(tmp_path / "cache"))
    folder, outside = tmp_path / "folder", tmp_path / "outside.jsonl"
    folder.mkdir()
    rows = "".join(json.dumps({"text": f"one {i:02}###two {i:02}"}) + "\n" for i in range(40))
    outside.write_text(rows + '{"text": 5}\n', encoding="utf-8")
    (folder / "linked.jsonl").symlink_to(outside)
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"text": f"{i:02}"}) + "\n" for i in range(40)), encoding="utf-8"
    )
    own: dict[str, Any] = dict(source=str(folder), tokenizer="bytes")
    assert tokens_of(DataConfig(**own)) == 40 * 3
    with pytest.raises(InputError, match=r"linked\.jsonl, line 41: expected text, found int"):
        DataConfig(**own, follow_links=True).open()
    linked = dict(own, follow_links=True, on_bad_row="skip")
    assert tokens_of(DataConfig(**linked)) == 40 * 3 + 40 * 16
    assert tokens_of(DataConfig(**linked, separator="###")) == 40 * 3 + 40 * 14
