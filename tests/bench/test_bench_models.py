"""The models that are timed: who meets whom, at which sizes and depth."""

import pytest
import torch

from tmt.bench import llama
from tmt.bench.decode import check_decoding
from tmt.bench.models import Match, build, draw_tokens, matches
from tmt.bench.prefill import calibrate
from tmt.bench.series import Settings
from tmt.bench.train import trainer


def settings(arch: str | None = None, preset: str = "nano", lengths: tuple[int, ...] = (16,)) -> Settings:
    cpu = torch.device("cpu")
    return Settings(lengths, ("fp32",), batch=2, arch=arch, preset=preset, only="", seconds=0.0, device=cpu)


def test_everything_meets_the_baseline_and_the_baseline_meets_transformers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(llama, "installed", lambda: True)
    assert {*matches(settings())} >= {Match("tmt", "transformer"), Match("transformer", llama.NAME)}
    assert [*matches(settings("tmt"))] == [Match("tmt", "transformer")]


def test_without_transformers_its_matches_are_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(llama, "installed", lambda: False)
    assert [*matches(settings("transformer"))] == []


def test_models_are_reproducible_have_room_and_no_exits():
    first, second = (build("tmt", settings(lengths=(9000, 16)), room=7) for _ in range(2))
    assert first.config.max_seq_len == 9007
    assert not first.config.exits
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


@pytest.mark.parametrize("preset", ["nano", "small"])
def test_calibrated_gates_give_the_depth(preset: str):
    model = build("tmt", settings(preset=preset), depth=0.5)
    tokens = draw_tokens(model, 2, 128)
    for _ in range(2):
        calibrate(model, tokens)
        with torch.no_grad():
            depth = model(tokens, last_only=True).depth
        assert depth.float().mean() / model.config.n_layers == pytest.approx(0.5, abs=0.02)


def test_the_foreign_transformer_has_our_shape_and_trains_and_decodes():
    pytest.importorskip("transformers")
    ours, peer = (build(arch, settings()) for arch in ("transformer", llama.NAME))
    heads = ours.config.d_model // ours.config.n_heads
    qk_norm = 2 * heads * ours.config.n_layers
    assert sum(p.numel() for p in peer.parameters()) == ours.param_count() - qk_norm
    check_decoding(llama.NAME, peer)
    training = trainer(peer, "adamw", "fp32", settings(), 16)
    assert training.take_step().loss == pytest.approx(8.3, abs=0.5)  # ln 4096, the vocabulary's
