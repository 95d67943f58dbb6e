"""What a decoder reads back from one state: the plumbing."""

import math

import numpy as np
import pytest
import torch

from tiny_models import Splits, tiny
from tmt.errors import InputError
from tmt.tasks.information import (
    Decoder,
    Information,
    InformationJob,
    autoencoder_objective,
    decoder_objective,
    frozen,
    retention,
    state_at,
    windows,
)
from tmt.tasks.learn import Plan, fit

VOCAB, LENGTH = 11, 8
PLAN = Plan(steps=3, batch_size=4, lr=1e-2, seed=0, device=torch.device("cpu"))

both = pytest.mark.parametrize("variant", ["no exits", "transformer"])


def text(length: int = 400) -> np.ndarray:
    return np.random.default_rng(0).choice(VOCAB, size=length, p=np.arange(1, 12) / 66)


def tokens(count: int = 4) -> torch.Tensor:
    return windows(text(), LENGTH)[:count]


@both
def test_the_encoder_is_bit_identical_after_the_decoder_is_trained(variant: str):
    encoder = tiny(variant, vocab_size=VOCAB).train()
    encode, decoder = frozen(encoder), Decoder(tiny(variant, vocab_size=VOCAB)).train()
    states = [{name: x.clone() for name, x in m.state_dict().items()} for m in (encoder, decoder)]
    fit(decoder, decoder_objective(encode, decoder, tokens, LENGTH - 1), PLAN, "test")
    assert all(torch.equal(x, states[0][name]) for name, x in encoder.state_dict().items())
    for part in ("project.weight", "trunk.model.head.weight", "trunk.model.blocks.0.attention_norm.weight"):
        assert not torch.equal(decoder.state_dict()[part], states[1][part]), part


@both
def test_an_autoencoder_trains_both_ends(variant: str):
    encoder = tiny(variant, vocab_size=VOCAB, tie_embeddings=False).train()
    decoder = Decoder(tiny(variant, vocab_size=VOCAB)).train()
    before = encoder.embedding.weight.clone()
    fit(
        torch.nn.ModuleList([encoder, decoder]), autoencoder_objective(encoder, decoder, tokens), PLAN, "test"
    )
    assert not torch.equal(encoder.embedding.weight, before)


@both
def test_the_state_is_what_the_head_reads_and_knows_no_later_token(variant: str):
    model = tiny(variant, vocab_size=VOCAB)
    batch = tokens()
    with torch.no_grad():
        torch.testing.assert_close(model.head(state_at(model, -1, batch)), model(batch).logits[:, -1])
        changed = batch.clone()
        changed[:, -1] = (changed[:, -1] + 1) % VOCAB
        encode = frozen(model)
        assert torch.equal(encode(batch), encode(changed))
        changed[:, -2] = (changed[:, -2] + 1) % VOCAB
        assert not torch.equal(encode(batch), encode(changed))


@both
def test_the_decoder_reads_windows_of_the_vector_and_nothing_later(variant: str):
    decoder = Decoder(tiny(variant, vocab_size=VOCAB)).eval()
    vectors = torch.randn(3, 16, requires_grad=True)
    logits, _ = decoder(vectors, 4)
    assert logits.shape == (3, 4, VOCAB)
    for i in range(4):
        (gradient,) = torch.autograd.grad(logits[1, i].square().sum(), vectors, retain_graph=True)
        seen = torch.zeros(16, dtype=torch.bool)
        seen[: 8 + i] = True  # inputs 0 … i of 8 channels each
        assert torch.equal(gradient[1] != 0, seen)
        assert not gradient[[0, 2]].any()


def test_retention_is_the_part_of_the_unigram_entropy_that_is_gone():
    class Knowing(torch.nn.Module):
        """Half of what is right for every vocabulary, whatever the vector."""

        def forward(self, vectors: torch.Tensor, length: int):
            return vectors[:, :length], None

    batch = windows(text(4000), LENGTH)
    shares = batch.flatten().bincount().double() / batch.numel()
    certain = torch.nn.functional.one_hot(batch, VOCAB) * 40.0

    def encode(rows: torch.Tensor) -> torch.Tensor:
        return shares.log().float().expand(len(rows), LENGTH, VOCAB)

    result = retention(encode, Knowing(), batch, LENGTH)  # pyrefly: ignore
    assert result["score"] == pytest.approx(0, abs=1e-5)
    assert result["nats"] == pytest.approx(result["unigram_entropy"])
    assert result["accuracy"] == pytest.approx(float(shares.max()))
    position = iter(certain.split(32))
    result = retention(lambda rows: next(position), Knowing(), batch, LENGTH - 1)  # pyrefly: ignore
    assert result["score"] == pytest.approx(1)
    assert result["accuracy_by_position"] == [1.0] * (LENGTH - 1)


def test_windows_are_apart_and_come_from_everywhere():
    rows = windows(np.arange(100), 30)
    assert rows[:, 0].tolist() == [0, 35, 70]
    assert torch.equal(rows, rows[:, :1] + torch.arange(30))
    assert windows(np.arange(10**5), 8).shape == (256, 8)
    with pytest.raises(InputError, match="length=30"):
        windows(np.arange(29), 30)


@pytest.mark.parametrize("kind", ["untrained", "trained", "autoencoder"])
def test_every_kind_of_encoder_gives_a_record(kind: str):
    model = tiny("transformer", vocab_size=VOCAB)
    splits = Splits(text(), text(), text())
    sizes = Information(length=LENGTH)
    job = InformationJob(sizes, kind, "transformer", model.config, PLAN, "words", splits)  # pyrefly: ignore
    record = {**job.identity, **job.run()}
    assert (record["encoder"], record["data"], record["steps_taken"]) == (kind, "words", 3)
    assert len(record["accuracy_by_position"]) == (LENGTH if kind == "autoencoder" else LENGTH - 1)
    assert record["score"] == pytest.approx(1 - record["nats"] / record["unigram_entropy"])
    assert record["unigram_entropy"] < math.log(VOCAB)
    assert record["valid_score"] == pytest.approx(record["score"], abs=0.05)
