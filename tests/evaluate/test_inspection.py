import json

import pytest
import torch

from tiny_models import BYTES, tiny
from tmt.errors import InputError
from tmt.evaluate import inspect_text
from tmt.model.model import TMTModel
from tmt.ops.mesh.reference import kept_keys

TEXT = "a mesh, a mesh"
IDS = torch.tensor([[BYTES.eot_id, *TEXT.encode()]])


def test_losses_are_those_of_the_next_token():
    for variant in ("plain", "transformer"):
        model = tiny(variant)
        _, records = inspect_text(model, BYTES, TEXT)
        logs = model(IDS).logits[0].double().log_softmax(-1)
        expected = -logs[torch.arange(len(TEXT)), IDS[0, 1:]]
        assert [r["nats"] for r in records[:-1]] == pytest.approx(expected.tolist())
        assert records[-1]["nats"] is None
        assert "".join(r["text"] for r in records) == TEXT


@pytest.mark.parametrize("layer", [None, 0, 1, 2, 3])
def test_attention_agrees_with_the_graph(layer: int | None):
    model = tiny("decay")
    _, records = inspect_text(model, BYTES, TEXT, layer=layer, top=100)
    trace = model(IDS).traces[3 if layer is None else layer]
    ran = trace.rows.positions.tolist()
    assert [r["position"] for r in records if r["attends"] is not None] == ran
    for row, position in enumerate(ran):
        record = records[position]
        kept = kept_keys(trace.mesh.read(), 0, row)
        assert {a["position"] for a in record["attends"]} == set(kept) - {position}
        assert all((a["kind"] == "window") == (position - a["position"] < 3) for a in record["attends"])
        weights = [a["weight"] for a in record["attends"]]
        assert weights == sorted(weights, reverse=True)
        assert sum(weights) + record["self"] + record["memory"] <= 1 + 1e-5
    assert layer == 2 or any(a["kind"] == "graph" for r in records for a in r["attends"] or [])


def test_weights_without_decay_sum_to_one():
    _, records = inspect_text(tiny(), BYTES, TEXT, top=100)
    for record in records:
        total = sum(a["weight"] for a in record["attends"]) + record["self"] + record["memory"]
        assert total == pytest.approx(1, abs=1e-5)


def test_depth_and_gates_agree_with_the_model():
    model = tiny()
    summary, records = inspect_text(model, BYTES, TEXT)
    output = model(IDS)
    assert [r["layers_run"] for r in records] == output.depth[0].tolist()
    assert [row["tokens"] for row in summary["layers"]] == output.layer_tokens
    for t, record in enumerate(records):
        left = [bool(mask[0, t]) for mask in output.exit_masks]
        assert record["exit_layer"] == (left.index(True) if True in left else None)
        ran = [t in trace.rows.positions.tolist() for trace in output.traces]
        assert [gate is not None for gate in record["gates"]] == ran


def test_summary_of_layers_and_memory():
    for variant in ("decay", "forget", "dense"):
        model = tiny(variant)
        assert isinstance(model, TMTModel)
        summary, _ = inspect_text(model, BYTES, TEXT)
        for layer in summary["layers"]:
            assert (layer["half_lives"] is None) == (variant == "dense")
        assert (summary["memory"] is None) == (variant == "dense")
        if summary["memory"]:
            assert sum(summary["memory"]["shares"]) == pytest.approx(1)
    assert summary["layers"][3]["similarity_gains"] is None


def test_the_shown_layer_is_the_last_mesh_layer():
    _, records = inspect_text(tiny("dense"), BYTES, TEXT)
    assert {record["layer"] for record in records} == {2}
    assert all((r["attends"] is None) == (r["self"] is None) == (r["layers_run"] < 4) for r in records)
    assert {record["memory"] for record in records} == {None}


def test_top_limits_the_list():
    _, records = inspect_text(tiny(), BYTES, TEXT, top=1)
    assert [len(r["attends"]) for r in records] == [0, *[1] * len(TEXT)]


def test_transformers_have_losses_only():
    summary, records = inspect_text(tiny("transformer"), BYTES, TEXT)
    assert summary == {"layers": [], "memory": None}
    assert records[0].keys() == {"position", "id", "text", "nats"}


@pytest.mark.parametrize("variant", ["plain", "forget", "no exits", "project", "transformer"])
def test_records_are_valid_json(variant: str):
    summary, records = inspect_text(tiny(variant), BYTES, TEXT)
    for record in (summary, *records):
        json.dumps(record, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "options", "named"),
    [
        ("", {}, "empty"),
        ("x" * 257, {}, "257 tokens"),
        ("x", {"layer": 4}, "layer=4"),
        ("x", {"top": -1}, "top"),
    ],
)
def test_mistakes_are_named(text: str, options: dict[str, int], named: str):
    with pytest.raises(InputError, match=named):
        inspect_text(tiny(), BYTES, text, **options)
