"""A bank of memory anchors that follows the tokens which attend to it (specs: TMT §7)."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.ops.precision import at_least_float32


class MemoryAnchors(nn.Module):
    """M anchors in the space of RMS-normalised hidden states, each the running mean of its tokens.

    A token counts for the one anchor it attends to most, by the weight it gives it: shared
    responsibility would pull every anchor to the common mean. The bank changes only in :meth:`update`,
    after an optimiser step; anchors that nobody uses are moved beside the most used one.
    """

    DEAD = 0.1
    """An anchor below this share of the mean count is dead."""
    SPREAD = 0.1
    """Standard deviation of the step from the busiest anchor at which a dead one starts again."""

    def __init__(self, count: int, d_model: int, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("count", torch.ones(count))
        self.register_buffer("total", torch.randn(count, d_model))

    def anchors(self) -> Tensor:
        """(M, D) current anchors."""
        return self.total / self.count[:, None]

    @staticmethod
    def read(count: Tensor, total: Tensor) -> Tensor:
        """(…, M, D) anchors of a bank, RMS-normalised as attention reads them."""
        return F.rms_norm(total / count[..., None], total.shape[-1:])

    @staticmethod
    @torch.no_grad()
    def collect(weights: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Counts (…, M) and sums (…, M, D) of the tokens (…, n, D) that attend with `weights` (…, n, M).

        At least float32, also under autocast.
        """
        most, anchor = weights.max(-1, keepdim=True)
        share = torch.zeros_like(weights).scatter_(-1, anchor, most)
        normed = F.rms_norm(at_least_float32(x), x.shape[-1:])
        with torch.autocast(x.device.type, enabled=False):
            return share.sum(-2), share.transpose(-1, -2) @ normed

    @staticmethod
    def flops(weights: int, d_model: int) -> int:
        """Operations of :meth:`collect` for that many weights."""
        return 2 * weights * d_model

    def blend(
        self, old_count: Tensor, old_total: Tensor, count: Tensor, total: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Moving average of banks (…, M) and (…, M, D): the new counts are scaled to sum to M first."""
        share = count.shape[-1] / count.sum(-1, keepdim=True).clamp(min=1e-12)
        weight = 1 - self.momentum
        return old_count.lerp(count * share, weight), old_total.lerp(total * share[..., None], weight)

    @torch.no_grad()
    def update(self, count: Tensor, total: Tensor) -> None:
        """Take in one step's counts (M,) and sums (M, D), then revive dead anchors."""
        new_count, new_total = self.blend(self.count, self.total, count, total)
        self.count.copy_(new_count)
        self.total.copy_(new_total)
        dead = self.count < self.DEAD * self.count.mean()
        for anchor in self._candidates(dead):
            self._revive(anchor, dead[anchor])

    @staticmethod
    def _candidates(dead: Tensor) -> Iterable[int]:
        """The dead ones; on an accelerator all, since a look at who is dead would wait for it."""
        return dead.nonzero()[:, 0].tolist() if dead.device.type == "cpu" else range(len(dead))

    def _revive(self, anchor: int, dead: Tensor) -> None:
        """Move an anchor, if it is dead, beside the busiest one, and share that one's count."""
        index = torch.arange(len(self.count), device=dead.device)
        busiest = self.count.argmax(keepdim=True)
        count, total = (bank.index_select(0, busiest)[0] for bank in (self.count, self.total))
        start, half = total / count, count / 2
        old, new = dead & (index == busiest), dead & (index == anchor)
        moved = (start + self.SPREAD * torch.randn_like(start)) * half
        self.count.copy_(torch.where(old | new, half, self.count))
        self.total.copy_(torch.where(old[:, None], start * half, self.total))
        self.total.copy_(torch.where(new[:, None], moved, self.total))

    def effective_rank(self) -> float:
        """Exponential of the entropy of the anchors' singular values: 1 when collapsed, at most M."""
        return _perplexity(torch.linalg.svdvals(self.anchors().float()))

    def usage(self) -> float:
        """Exponential of the entropy of the counts: the number of anchors in use."""
        return _perplexity(self.count)


def _perplexity(mass: Tensor) -> float:
    share = mass / mass.sum()
    return float((-share * share.clamp(min=1e-12).log()).sum().exp())
