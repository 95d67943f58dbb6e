import json

import pytest
import torch

from tiny_models import BYTES, Splits, stream, tiny
from tmt.errors import InputError
from tmt.evaluate import evaluate_run, score

TRAIN = stream("The mesh sees the past, and the past is a mesh of words.", "Zebras, rarely.")
TEST = stream("A test of the mesh, and of the past.")
SPLITS = Splits(TRAIN, TRAIN, TEST)


@pytest.mark.parametrize("variant", ["plain", "transformer"])
def test_record_agrees_with_the_score(variant: str):
    model = tiny(variant)
    record = evaluate_run(model, BYTES, SPLITS, context=16, stride=4, progress=False)
    result = score(model, TEST, BYTES, context=16, stride=4, progress=False)
    for name in ("tokens", "bytes", "words", "nats", "ppl", "bpb", "word_ppl", "mean_depth", "mean_layers",
                 "flops_per_token", "flops_per_token_dense"):  # fmt: skip
        assert record[name] == getattr(result, name)
    assert record["params"] == model.param_count()
    assert (record["split"], record["context"], record["stride"]) == ("test", 16, 4)
    assert (record["bytes_of"], record["spelt"]) == ("text", 1)
    assert (record["raw_bytes"], record["raw_bpb"]) == (record["bytes"], record["bpb"])
    assert record["causal_max_diff"] < 1e-9
    inputs = sum(row["tokens"] for row in record["depth_by_class"].values())
    assert inputs == result.seen.sum()


def test_a_diverged_model_still_makes_valid_json():
    model = tiny()
    model.embedding.weight.data.fill_(torch.nan)
    record = json.loads(
        json.dumps(evaluate_run(model, BYTES, SPLITS, context=16, progress=False), allow_nan=False)
    )
    assert record["nats"] is record["ppl"] is None
    assert record["stride"] == 16


def test_a_test_split_that_is_the_validation_split_goes_by_its_name():
    record = evaluate_run(tiny(), BYTES, Splits(TRAIN, TEST, TEST), context=16, limit=9, progress=False)
    assert record["split"] == "valid"


def test_keys_do_not_depend_on_the_architecture():
    one, other = (
        evaluate_run(tiny(variant), BYTES, SPLITS, context=16, progress=False)
        for variant in ("plain", "transformer")
    )
    assert one.keys() == other.keys()
    assert one["depth_by_class"].keys() == other["depth_by_class"].keys()


@pytest.mark.parametrize(("option", "value"), [("split", "tset"), ("context", 65), ("stride", 99)])
def test_mistakes_are_named_before_the_work(option: str, value: int | str):
    with pytest.raises(InputError, match=str(value)):
        evaluate_run(tiny(), BYTES, SPLITS, **{"context": 16, option: value})
