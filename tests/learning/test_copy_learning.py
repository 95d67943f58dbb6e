"""What an architecture must be able to learn in seconds."""

import pytest
import torch

from tmt.tasks.copy import Copy
from tmt.tasks.learn import Plan, TaskJob
from tmt.tasks.models import configure
from tmt.tasks.mqar import MQAR

pytestmark = [pytest.mark.learning, pytest.mark.slow]


def plan(steps: int) -> Plan:
    return Plan(steps=steps, batch_size=64, lr=3e-3, seed=0, device=torch.device("cpu"))


def test_a_toeplitz_mixer_copies_at_a_fixed_lag():
    task = Copy()
    config = configure("toeplitz", None, {}, vocab_size=task.vocab_size, length=task.length, d_model=64)
    assert TaskJob("copy", task, "toeplitz", config, plan(steps=400)).run()["score"] >= 0.995


def test_a_transformer_retrieves_by_key():
    """With embeddings as large as what its layers add; with small ones, 2,000 steps are not enough."""
    task, large = MQAR(pairs=4, length=16), {"embedding_std": 0.2}
    config = configure("transformer", None, large, vocab_size=task.vocab_size, length=task.length, d_model=64)
    assert TaskJob("mqar", task, "transformer", config, plan(steps=1000)).run()["score"] >= 0.9
