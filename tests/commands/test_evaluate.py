import json
import math
from pathlib import Path

import pytest

from tmt.commands.evaluate import EvaluateOptions, evaluate
from tmt.errors import InputError

KEYS = {
    "arch", "params", "tokens", "bytes", "context", "stride", "nats", "ppl", "bpb", "word_ppl", "mean_depth",
    "mean_layers", "nats_by_position", "depth_by_class",
    "flops_per_token", "flops_per_token_dense", "causal_max_diff",
    "split", "data", "bytes_of",
}  # fmt: skip


def run_json(capsys: pytest.CaptureFixture[str], **options) -> dict:
    evaluate(EvaluateOptions(json=True, device="cpu", **options))
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


@pytest.mark.parametrize("variant", ["plain", "transformer"])
def test_one_json_object_on_one_line(
    variant: str, runs: dict[str, str], corpus_file: Path, capsys: pytest.CaptureFixture[str]
):
    record = run_json(capsys, run=runs[variant])
    assert record.keys() >= KEYS
    assert record["tokens"] == record["split_tokens"]
    assert record["data"] == str(corpus_file)
    assert record["split"] == "test"
    assert (record["context"], record["stride"]) == (32, 32)
    assert record["ppl"] == pytest.approx(math.exp(record["nats"]))
    assert record["causal_max_diff"] < 1e-9
    assert (record["mean_depth"] == 1) == (variant == "transformer")
    assert record["mean_layers"] == pytest.approx(4 * record["mean_depth"])


def test_options_reach_the_evaluation(runs: dict[str, str], capsys: pytest.CaptureFixture[str]):
    record = run_json(capsys, run=runs["plain"], split="valid", context=64, stride=8, limit=100)
    assert [record[key] for key in ("split", "context", "stride", "tokens")] == ["valid", 64, 8, 100]
    assert record["split_tokens"] > 100


def test_another_corpus(runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(f"Another text, number {i}, of some length beyond it." for i in range(50)))
    record = run_json(capsys, run=runs["plain"], data=str(other))
    assert record["data"] == str(other)


@pytest.mark.parametrize("variant", ["plain", "transformer"])
def test_tables(variant: str, runs: dict[str, str], capsys: pytest.CaptureFixture[str]):
    evaluate(EvaluateOptions(run=runs[variant], device="cpu", limit=200))
    printed = capsys.readouterr().out
    for word in (
        "bits per byte",
        "bytes of",
        "perplexity",
        "32, 32",
        "leak probe",
        "punctuation",
        "function words",
    ):
        assert word in printed


@pytest.mark.parametrize(
    ("options", "named"), [(dict(context=999), "999"), (dict(stride=33), "33"), (dict(limit=0), "limit=0")]
)
def test_mistakes_are_named(options: dict[str, int], named: str, runs: dict[str, str]):
    with pytest.raises(InputError, match=named):
        evaluate(EvaluateOptions(run=runs["plain"], device="cpu", **options))
