"""Exclusive self-attention (Zhai, 2026): what a head hears of others, without its token's own value."""

from torch import Tensor

from tmt.layers.norm import unit_rows


def without_own_value(heads: Tensor, values: Tensor) -> Tensor:
    """Outputs (n, H, E) less their part along the values (n, G, E) of the same token.

    Each of the G heads of values belongs to H / G heads in a row.
    """
    own = unit_rows(values)[:, :, None]
    grouped = heads.unflatten(1, (values.shape[1], -1))
    return (grouped - (grouped * own).sum(-1, keepdim=True) * own).flatten(1, 2)
