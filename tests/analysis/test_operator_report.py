import json
from dataclasses import asdict, fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from known_kernels import GROWING, TWO_AND_ONE

from tiny_models import tiny
from tmt.analysis import KernelRecord, log10_condition, model_kernels, operator_records
from tmt.analysis.operator import mixes_by_kernels_alone
from tmt.errors import InputError


def records_of(*rows) -> list[KernelRecord]:
    """Of one layer with these kernels, padded to one length, as its heads."""
    length = max(map(len, rows))
    heads = np.array([np.pad(np.asarray(row, float), (0, length - len(row))) for row in rows])
    return list(operator_records({"0": heads[:, None]}))


def test_what_a_kernel_is():
    (record,) = records_of(GROWING)
    assert (record.layer, record.head, record.taps, record.channel_shifts) == ("0", 0, 64, 1)
    assert (record.certified, record.index, record.residual_index) == (True, -63, -63)
    assert (record.small_singular_values, record.small_singular_values_doubled, record.rank) == (0, 54, 64)
    assert (record.roots_inside, record.roots_near_circle, record.leading_zeros) == (63, 0, 0)
    assert record.log10_condition == log10_condition(GROWING, 64)
    assert record.first_tap_share == pytest.approx(1 / (GROWING @ GROWING))
    assert record.distance == pytest.approx(0.0476, abs=1e-3)


def test_the_residual_connection_adds_the_identity():
    shift, cancelled = records_of([0.2, 1.0, 0.0], [-1.0, 0.0, 0.5])
    assert (shift.index, shift.residual_index) == (-1, 0)
    assert (cancelled.index, cancelled.residual_index) == (0, -2)


def test_the_identity_is_not_added_where_projections_stand_around_the_kernel():
    """Of I + W_out T W_in with T = 1 + z and a product of −2 the index is −1, of T + I it is 0."""
    (record,) = operator_records({"0": np.array([[[1.0, 1.0, 0.0]]])}, alone=False)
    assert record.residual_index is None
    assert mixes_by_kernels_alone(tiny("toeplitz", n_heads=0))
    assert not mixes_by_kernels_alone(tiny("toeplitz", n_heads=1))
    assert not mixes_by_kernels_alone(tiny("hyena"))


def test_layers_and_heads_keep_their_names_and_order():
    kernels = {"0": np.ones((2, 1, 4)), "1.inner": np.ones((1, 1, 4)), "1.outer": np.ones((1, 1, 4))}
    named = [(record.layer, record.head) for record in operator_records(kernels)]
    assert named == [("0", 0), ("0", 1), ("1.inner", 0), ("1.outer", 0)]


def test_kernels_without_an_index():
    running_sum, nothing, late = records_of(np.ones(8), np.zeros(8), [0, 0, 1])
    assert (running_sum.certified, running_sum.index, running_sum.roots_near_circle) == (False, None, 7)
    assert (nothing.index, nothing.residual_index, nothing.rank, nothing.leading_zeros) == (None, 0, 0, 8)
    assert (nothing.first_tap_share, nothing.log10_condition, nothing.distance) == (None, None, 0)
    assert (late.index, late.leading_zeros, late.log10_condition, late.rank) == (-2, 2, None, 6)


def test_several_channel_shifts_have_a_distance_on_the_torus():
    """2 + z s is between 1 and 3 in size; 1 + z s has zeros."""
    away, through = np.zeros((2, 1, 2, 5))
    away[0, 0, 0] = 2
    through[0, 0, 0] = 1
    away[0, 1, 1] = through[0, 1, 1] = 1
    (record,) = operator_records({"0": away})
    assert record == KernelRecord("0", 0, taps=5, channel_shifts=2, distance=pytest.approx(1 / 3))
    assert next(operator_records({"0": through})).distance < 1e-12


def test_long_kernels_leave_out_what_takes_long():
    (record,) = records_of(TWO_AND_ONE, np.eye(1, 600)[0])[:1]
    assert (record.index, record.small_singular_values, record.rank) == (-3, 3, 597)
    assert record.small_singular_values_doubled is None
    assert record.roots_inside is None


def test_records_are_json():
    rows = [asdict(record) for record in records_of(np.ones(8), np.zeros(8), TWO_AND_ONE)]
    assert all(row.keys() == {field.name for field in fields(KernelRecord)} for row in rows)
    assert [json.loads(json.dumps(row, allow_nan=False))["index"] for row in rows] == [None, None, -3]


def test_the_kernels_of_a_model():
    model = SimpleNamespace(kernels=lambda: {"0": torch.ones(2, 1, 3, dtype=torch.float64)})
    kernels = model_kernels(model, "toeplitz")
    assert kernels["0"].shape == (2, 1, 3)
    assert kernels["0"].dtype == np.float64


def test_a_model_without_kernels_is_refused():
    with pytest.raises(InputError, match="transformer has no Toeplitz kernels"):
        model_kernels(tiny("transformer"), "transformer")
