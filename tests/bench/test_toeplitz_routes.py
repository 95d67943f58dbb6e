"""The Toeplitz models under the clock: long enough, named by the path that runs, equal to their peers."""

from dataclasses import replace
from typing import cast

import pytest
import torch

from tmt.bench import toeplitz_routes as routes
from tmt.bench.decode import check_decoding
from tmt.bench.models import Match, build, draw_tokens, inference
from tmt.bench.parity import relative_error
from tmt.bench.prefill import last_logits
from tmt.bench.series import Precision, Settings
from tmt.bench.toeplitz_routes import Way
from tmt.errors import InputError
from tmt.layers.toeplitz_kernel import RawKernel
from tmt.ops import toeplitz as op

LENGTHS = (16, 300)


def settings(arch: str | None = "toeplitz") -> Settings:
    return Settings(
        LENGTHS,
        ("fp32",),
        batch=2,
        arch=arch,
        preset="nano",
        only="",
        seconds=0.0,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def ways() -> dict[str, Way]:
    return {way.name: way for way in routes.ways(settings())}


@torch.no_grad()
@pytest.mark.parametrize("arch", ["toeplitz", "hyena", "triangular"])
def test_kernels_reach_the_longest_sequence(arch: str):
    model = build(arch, settings(arch), room=7)
    assert model.config.longest >= 307
    assert model(draw_tokens(model, 1, 307), last_only=True).logits.isfinite().all()
    check_decoding(arch, model)


@pytest.mark.parametrize("arch", ["toeplitz", "hyena"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_match_names_the_paths_that_run(arch: str, dtype: Precision, monkeypatch: pytest.MonkeyPatch):
    taken: list[str] = []

    def watched(name: str):
        path = op.IMPLEMENTATIONS[name]
        return lambda x, kernel: [taken.append(name), path(x, kernel)][1]

    monkeypatch.setattr(op, "IMPLEMENTATIONS", {name: watched(name) for name in op.IMPLEMENTATIONS})
    model = build(arch, settings(arch))
    for length in LENGTHS:
        tokens = draw_tokens(model, 1, length)
        inference(lambda tokens=tokens: last_logits(model, tokens), dtype, torch.device("cpu"))()
    match = Match(arch, "transformer", LENGTHS)
    assert match.impl(dtype, torch.device("cpu")) == " + ".join(dict.fromkeys(taken))


def test_every_way_agrees_with_its_peer_and_remembers_what_its_name_says(ways: dict[str, Way]):
    for way in ways.values():
        way.check(settings())
    decoding = {name: tuple(model.config.decoding for model in way.models) for name, way in ways.items()}
    assert decoding["step, state"] == decoding["prompt, state"] == ("state", "direct")
    assert decoding["generation"] == ("relaxed", "direct")


@torch.no_grad()
@pytest.mark.parametrize("name", ["prompt, fir", "prompt, state", "step, state", "generation"])
def test_one_wrong_tap_is_not_timed(name: str, ways: dict[str, Way]):
    """A far tap of one head in one layer."""
    way = ways[name]
    ours, peer = way.models
    wrong = routes.written_out(peer)
    kernel = next(module for module in wrong.modules() if isinstance(module, RawKernel))
    kernel.weight[0, 0, way.checked // 2] += 0.5
    with pytest.raises(InputError, match="is not timed"):
        replace(way, models=(ours, wrong)).check(settings())


@torch.no_grad()
def test_written_out_kernels_give_the_same_function(ways: dict[str, Way]):
    for way in ways.values():
        ours = way.models[0]
        tokens = draw_tokens(ours, 2, 200)
        peer = routes.written_out(ours, decode="relaxed")
        assert relative_error(peer(tokens).logits, ours(tokens).logits) < 1e-5


def test_other_architectures_have_no_such_rows():
    assert not [*routes.series(settings("hyena"))]


def test_rows_work_on_as_many_tokens_as_they_say(ways: dict[str, Way]):
    for way in ways.values():
        pair = way.pair(way.models, "fp32", settings(), 16)
        assert pair.tokens == (2 if way.name == "step, state" else 32)
        for call in (pair.ours, pair.peer):
            assert cast("torch.Tensor", call()).shape == (2, 4096)
