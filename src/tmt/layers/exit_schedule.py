"""How many tokens leave after which layer, and who may decide it (specs: TMT §5)."""

from typing import Literal

GateKind = Literal["learned", "random", "position"]


def keep_shares(target_depth: float, n_layers: int, entry: int, landing: int) -> list[float]:
    """Share of tokens that each middle layer works on, so that the mean depth is `target_depth`.

    Entry and landing layers run for every token; the shares of the layers between fall linearly.
    """
    middle = n_layers - entry - landing
    if middle <= 0:
        return []
    mean = (target_depth * n_layers - entry - landing) / middle
    first = min(1.0, 2 * mean * middle / (middle + 1))
    if middle == 1:
        return [mean]
    step = 2 * (first - mean) / (middle - 1)
    return [first - i * step for i in range(middle)]
