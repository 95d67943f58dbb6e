"""Training on a task: what a job does, says, and repeats."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from tmt.errors import InputError
from tmt.model import ARCHITECTURES, build_model
from tmt.tasks import TASKS
from tmt.tasks.copy import Copy
from tmt.tasks.learn import Plan, TaskJob, fit
from tmt.tasks.models import configure

EASY = Copy(symbols=4, half=16)
CPU = torch.device("cpu")


def plan(**values: Any) -> Plan:
    return Plan(**{"steps": 2, "batch_size": 8, "lr": 3e-3, "seed": 0, "device": CPU, **values})


def job(arch: str = "transformer", **values: Any) -> TaskJob:
    sizes = dict(vocab_size=EASY.vocab_size, length=EASY.length, d_model=16)
    config = configure(arch, None, {"embedding_std": 0.02}, **sizes)
    return TaskJob("copy", EASY, arch, config, plan(**values))


@pytest.mark.parametrize("arch", ["transformer", "tmt"])
def test_a_record_says_all_and_is_plain(arch: str):
    done = job(arch)
    record = {**done.identity, **done.run()}
    assert record["task"], record["arch"] == ("copy", arch)
    assert record["sizes"] == {"symbols": 4, "half": 16}
    assert record["model"]["d_model"] == 16
    assert (record["steps"], record["steps_taken"], record["diverged"]) == (2, 2, False)
    assert record["params"] > 0
    assert record["flops_per_token"] > record["params"]
    assert record["score"] == record["accuracy"]
    assert 0 <= record["accuracy"] < 0.5  # two steps teach nothing
    assert record["nats"] == pytest.approx(math.log(4), abs=0.5)
    assert set(record["by_load"]) == {"16"}
    assert record["chance"] == 0.25
    assert record["floor"] == pytest.approx(0.487, abs=0.01)
    assert record["solve"] == 1.0
    assert record["seconds"] > 0
    assert len(json.dumps(record, allow_nan=False)) > 500


def test_training_lowers_the_loss():
    assert job(steps=60, batch_size=32, lr=1e-2).run()["nats"] < job().run()["nats"] - 0.05


def test_a_seed_repeats_and_another_does_not():
    first, again, other = (job(seed=seed).run() for seed in (1, 1, 2))
    for record in (first, again, other):
        del record["seconds"]
    assert first == again
    assert first["nats"] != other["nats"]


def test_every_stream_of_every_seed_is_its_own():
    seeds = {plan(seed=seed).generator(stream).initial_seed() for seed in range(3) for stream in STREAMS}
    assert len(seeds) == 9


STREAMS = ("train", "valid", "test")


def test_a_loss_that_is_not_finite_ends_the_training_and_is_said():
    weight = torch.nn.Linear(1, 1)

    def objective():
        return weight(torch.full((1, 1), math.inf)).sum(), lambda: None

    before = weight.weight.detach().clone()
    assert fit(weight, objective, plan(), "test") | {"seconds": 0} == {
        "steps_taken": 0, "seconds": 0, "diverged": True,
    }  # fmt: skip
    assert torch.equal(weight.weight, before)


def test_the_rate_rises_then_stays():
    parameter = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        parameter.weight.zero_()
    places = [0.0]
    fit(
        parameter,
        lambda: (-parameter.weight.sum(), lambda: places.append(float(parameter.weight.detach()))),
        plan(steps=40, lr=0.1),
        "test",
    )
    steps = [after - before for before, after in pairwise(places)]  # Adam: lr each
    assert steps[0] == pytest.approx(0.1 / 20, rel=1e-3)
    assert steps[9] == pytest.approx(0.05, rel=1e-3)
    assert steps[20:] == pytest.approx([0.1] * 20, rel=1e-3)


def test_models_are_told_how_far_their_training_is():
    config = configure("golf", None, {}, vocab_size=9, length=12, d_model=16)
    model, looping = build_model("golf", config).train(), []
    whole = torch.nn.ModuleList([torch.nn.Linear(1, 1), model])
    fit(
        whole, lambda: (model.head.weight.sum(), lambda: looping.append(model.looping)), plan(steps=9), "test"
    )
    assert looping == [False] * 4 + [True] * 5


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_fits_every_task_in_blocks_of_one_size(arch: str, task: str):
    sizes = TASKS[task]()
    config = configure(arch, None, {}, vocab_size=sizes.vocab_size, length=sizes.length, d_model=64)
    model = build_model(arch, config).eval()
    blocks = sum(p.numel() for name, p in model.named_parameters() if name.startswith("blocks."))
    if arch != "triangular":  # its matrices alone may have more
        assert blocks == pytest.approx(2 * 12 * 64**2, rel=0.005)
    with torch.no_grad():
        tokens = sizes.draw(plan().generator("test"), 2).tokens
        assert model(tokens).logits.shape == (2, sizes.length, sizes.vocab_size)


def test_presets_and_overrides_rule_over_the_usual_sizes():
    preset = configure("tmt", "small", {}, vocab_size=9, length=30, d_model=64)
    assert (preset.d_model, preset.n_layers, preset.vocab_size) == (256, 4, 9)
    wide = configure("transformer", None, {"d_model": 32, "n_layers": 3}, vocab_size=9, length=30, d_model=64)
    assert (wide.d_model, wide.n_layers, wide.max_seq_len, wide.dropout) == (32, 3, 30, 0.0)
    own = configure("transformer", None, {"ffn_dim": 7}, vocab_size=9, length=30, d_model=64)
    assert own.ffn_dim == 7


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("preset", [None, "nano"])
def test_embeddings_start_large(arch: str, preset: str | None):
    def std(**overrides: Any) -> float:
        return configure(arch, preset, overrides, vocab_size=9, length=30, d_model=64).embedding_std

    assert std() == 0.2
    assert std(embedding_std=0.02) == 0.02
    model = build_model(arch, configure(arch, None, {}, vocab_size=4000, length=30, d_model=64))
    assert float(model.embedding.weight.detach().std()) == pytest.approx(0.2, rel=0.02)


def test_the_published_start_makes_its_own_embeddings():
    config = configure("toeplitz", None, {"init": "kaiming"}, vocab_size=9, length=30, d_model=64)
    assert config.embedding_std == 0.02


@pytest.mark.parametrize(
    ("overrides", "named"),
    [({"vocab_size": 5}, "vocab_size"), ({"d_modle": 5}, "d_modle"), ({"d_model": "wide"}, "wide")],
)
def test_bad_model_fields_are_named(overrides: dict[str, Any], named: str):
    with pytest.raises(InputError, match=named):
        configure("transformer", None, overrides, vocab_size=9, length=30, d_model=64)


@pytest.mark.parametrize("values", [dict(steps=0), dict(batch_size=0), dict(lr=0.0), dict(seed=-1)])
def test_bad_plans_are_named(values: dict[str, Any]):
    with pytest.raises(InputError, match=next(iter(values))):
        plan(**values)
