import math

import pytest
import torch

from tmt.artifact.clip import (
    NARROWEST,
    deviation_scales,
    entropy,
    largest_scales,
    levels,
    widest,
)
from tmt.artifact.gptq import round_rows
from tmt.packed.compression import compress


def empirical_entropy(codes: torch.Tensor) -> float:
    share = codes.flatten().int().add(128).bincount().double() / codes.numel()
    return float(torch.special.entr(share).sum() / math.log(2))


@pytest.mark.parametrize(("bits", "width", "expected"), [(6, 12.85, 3.32), (8, 20.0, 4.71)])
def test_the_record_s_widths_cost_what_is_known(bits: int, width: float, expected: float):
    assert entropy(bits, width) == pytest.approx(expected, abs=0.02)
    assert entropy(bits, width) == pytest.approx(2.047 - math.log2(width / levels(bits)), abs=0.02)


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_normal_rows_have_the_predicted_entropy(bits: int, share: float):
    width = NARROWEST + share * (min(widest(bits), 40.0) - NARROWEST)
    weight = torch.randn(64, 2000)
    codes = round_rows(weight, deviation_scales(weight, bits, width), bits)
    assert empirical_entropy(codes) == pytest.approx(entropy(bits, width), abs=0.05)


def test_a_larger_width_strictly_lowers_the_compressed_bytes():
    weight = torch.randn(64, 500)
    sizes = []
    for width in (4.0, 8.0, 12.85, 20.0, 40.0):
        codes = round_rows(weight, deviation_scales(weight, 6, width), 6)
        sizes.append(len(compress(codes.numpy().tobytes(), "brotli")))
    assert sizes == sorted(set(sizes), reverse=True)
    assert 8 * sizes[2] / weight.numel() == pytest.approx(entropy(6, 12.85), abs=0.1)


def test_the_scale_is_the_sample_deviation_s_share():
    weight = torch.tensor([[1.0, 3.0, 5.0]])
    assert deviation_scales(weight, 6, 12.85) == torch.tensor(2 * 12.85 / 31).half()


def test_scales_by_the_largest_weight_clip_nothing():
    weight = torch.eye(20) + 0.01 * torch.randn(20, 20)
    scales = largest_scales(weight, 8)
    restored = round_rows(weight, scales, 8) * scales.float()[:, None]
    assert (restored - weight).abs().max() < 0.6 * float(scales.max())
