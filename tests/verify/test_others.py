"""The rules on models of `transformers`, as released, with random weights."""

from collections.abc import Callable

import pytest
import torch
import transformers
from torch import nn
from zoo import VOCAB, loud

from tmt.verify import Report, check, open_target, subject_of

pytestmark = pytest.mark.filterwarnings("ignore")
LENGTH = 24
SIZES = dict(
    vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
)
LONG = dict(max_position_embeddings=1024, num_key_value_heads=1)
TOKENS = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None)
RECURRENT = dict(vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, state_size=4)


def bert(**flags: bool) -> nn.Module:
    return transformers.BertLMHeadModel(transformers.BertConfig(**SIZES, **TOKENS, **flags))


def of(name: str, **sizes) -> Callable[[], nn.Module]:
    config, model = (getattr(transformers, name + end) for end in ("Config", "ForCausalLM"))
    return lambda: model(config(**sizes))


SOUND = {
    "GPT-2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=64, **TOKENS)
    ),
    "Llama": of("Llama", **SIZES, **LONG, **TOKENS),
    "Mistral, window of 5": of("Mistral", **SIZES, **LONG, **TOKENS, sliding_window=5),
    "Qwen3": of("Qwen3", **SIZES, **LONG, **TOKENS, head_dim=8),
    "Mamba-2": of("Mamba2", **RECURRENT, **TOKENS, num_heads=4, head_dim=8, n_groups=1, chunk_size=8),
    "BERT as a decoder": lambda: bert(is_decoder=True),
}


def report_on(make: Callable[[], nn.Module]) -> Report:
    torch.manual_seed(0)
    return check(subject_of(loud(make())), length=LENGTH)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model_is_not_accused(name: str):
    report = report_on(SOUND[name])
    assert report.passed, [str(finding) for finding in report.broken]


def test_a_bert_that_was_not_told_to_be_a_decoder_sees_the_future():
    broken = {finding.rule for finding in report_on(bert).broken}
    assert {"future", "gradient", "prefix", "training"} <= broken


def test_mamba_reads_a_second_piece_of_several_tokens_otherwise_than_the_whole():
    """As released in transformers 5: documented in docs/verify.md; mended there, this test fails."""
    report = report_on(of("Mamba", **RECURRENT, **TOKENS))
    assert {finding.rule for finding in report.broken} == {"cached"}
    assert "in pieces" in report.broken[0].where


def test_a_folder_of_weights_is_a_target(tmp_path):
    torch.manual_seed(0)
    SOUND["Llama"]().save_pretrained(tmp_path / "llama")
    subject = open_target(f"hf:{tmp_path / 'llama'}")
    assert subject.vocab_size == VOCAB
    assert check(subject, only=["future", "cached"], length=LENGTH).passed
