"""How one tensor lies in an artifact, and the values that stand for it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    )
}
"""What an array may consist of, by name."""


@dataclass(frozen=True)
class Stored:
    """One tensor of a model: plain values, or integers times one scale a row.

    `arrays` holds "value", in the tensor's own type or a smaller one; or "codes" int8 (…, n) and "scales"
    float16 (…,). A correction of rank r may be added to codes (m, n): "left" int8 (m, r) times "left_scale"
    float16 (1,), times "right" int8 (r, g, w) times "right_scales" float16 (r, g), its rows cut to n.
    """

    dtype: torch.dtype
    """Of the tensor in the model."""
    arrays: Mapping[str, Tensor]

    def value(self) -> Tensor:
        """The tensor, computed in float32 and turned to its type."""
        if "value" in self.arrays:
            return self.arrays["value"].to(self.dtype)
        value = _scaled(self.arrays["codes"], self.arrays["scales"])
        if "left" in self.arrays:
            right = _scaled(self.arrays["right"], self.arrays["right_scales"]).flatten(1)
            value += _scaled(self.arrays["left"], self.arrays["left_scale"]) @ right[:, : value.shape[1]]
        return value.to(self.dtype)


def _scaled(codes: Tensor, scales: Tensor) -> Tensor:
    return codes.float() * scales.float()[..., None]


def to_bytes(array: Tensor) -> bytes:
    """Raw values in order, little-endian as on every machine that PyTorch is built for."""
    return array.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def from_bytes(data: memoryview, dtype: torch.dtype, shape: list[int]) -> Tensor:
    """Undo :func:`to_bytes`; ValueError where the data have another size."""
    size = torch.Size(shape).numel() * dtype.itemsize
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes for an array of {size}")
    if size == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
