"""Per-token exits: who leaves after a layer, and what trains the decision (specs: TMT §5)."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tmt.layers.exit_schedule import GateKind
from tmt.layers.norm import RMSNorm
from tmt.ops.precision import at_least_float32


@dataclass
class Decision:
    """What a gate says of the n tokens still running."""

    confidence: Tensor
    """(n,) float32 in (0, 1): how sure the gate is that the token needs no further middle layer."""
    stay: Tensor
    """(n,) bool."""
    least: Tensor | None
    """(m,) int64, ascending: the tokens that stay, where a share was imposed."""
    each: int | None
    """m / B where that many of every sequence stay by order, so that it is known beforehand."""
    soft_stay: Tensor | None
    """(n,) differentiable chance of staying ("learned" objective)."""
    gain: Tensor | None
    """(n,) factor on the updates of the next layer, through which cross-entropy trains the gate."""
    boundary: Tensor | None
    """Scalar: the confidence that parted stayers from leavers, where a share was imposed."""

    @cached_property
    def kept(self) -> Tensor:
        """(m,) int64, ascending: the tokens that stay; where no share was imposed they are counted now."""
        return self.stay.nonzero()[:, 0] if self.least is None else self.least


class ExitGate(nn.Module):
    """Confidence ``c = σ(w · norm(x) + b)`` of leaving after one layer, and the rule that uses it.

    `objective` "budget": while training, exactly the share `keep` of every sequence stays, its least
    confident tokens, and their next update is multiplied by 2(1 − c); otherwise a token leaves when c
    exceeds `threshold`, a running mean of the boundaries seen in training. "entropy" and "learned": a token
    leaves when c exceeds the threshold, in training too; "learned" makes the threshold a parameter and
    passes the gradient of a soft decision straight through the hard one.
    """

    RATE = 0.05
    SOFTNESS = 0.1

    def __init__(self, d_model: int, eps: float, objective: str, kind: GateKind, threshold: float | None):
        super().__init__()
        self.objective, self.kind, self.fixed = objective, kind, threshold is not None
        self.norm = RMSNorm(d_model, eps)
        self.score = nn.Linear(d_model, 1)
        start = torch.tensor(1.0 if threshold is None else threshold)
        if objective == "learned":
            self.threshold = nn.Parameter(torch.tensor(0.85) if threshold is None else start)
        else:
            self.register_buffer("threshold", start)

    def forward(self, x: Tensor, key: Tensor, keep: int | None, sequences: int = 1) -> Decision:
        """Decide for n tokens.

        Args:
            x: (n, D) states.
            key: (n,) int64 that names each token to the "random" and "position" controls.
            keep: tokens of every sequence that must stay (training with a target depth), or None to use the
                threshold. The shapes of what stays are known then without a look at the scores.
            sequences: B, of n / B tokens each.
        """
        if self.kind == "learned":
            confidence = torch.sigmoid(at_least_float32(self.score(self.norm(x))))[:, 0]
        else:
            confidence = _uniform(key)
        boundary = each = least = None
        if keep is None:
            stay = confidence <= self.threshold
        else:
            stay, least, boundary = _keep_least(confidence.detach().view(sequences, -1), keep)
            each = len(least) // sequences
        soft_stay = gain = None
        if self.objective == "learned":
            soft_stay = torch.sigmoid((self.threshold - confidence) / self.SOFTNESS)
            gain = 1 + soft_stay - soft_stay.detach()
        elif self.objective == "budget" and self.kind == "learned":
            gain = 2 * (1 - confidence)
        return Decision(confidence, stay, least, each, soft_stay, gain, boundary)

    def flops(self, rows: int) -> int:
        """Operations for that many rows; the controls compute no score."""
        return 2 * rows * self.score.weight.numel() if self.kind == "learned" else 0

    @torch.no_grad()
    def follow(self, boundary: Tensor) -> None:
        """Move the threshold towards a boundary seen in training; the first one is taken as it is."""
        if not self.fixed:
            self.threshold.copy_(
                torch.where(self.threshold >= 1, boundary, self.threshold.lerp(boundary, self.RATE))
            )


def binary_entropy(confidence: Tensor) -> Tensor:
    """Mean entropy (nats) of the decisions: the published objective, which pushes c to 0 or 1."""
    c = confidence.clamp(1e-6, 1 - 1e-6)
    return -(c * c.log() + (1 - c) * (1 - c).log()).mean()


def depth_penalty(soft_depth: Tensor, target: float | None) -> Tensor:
    """Objective of learned thresholds: the soft mean depth, or its squared miss of the target in tenths."""
    return soft_depth if target is None else ((soft_depth - target) * 10) ** 2


def _keep_least(confidence: Tensor, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `keep` smallest entries of each row of (B, T), first come first among equals.

    Returns:
        their mask (B·T,), their places (B·keep,), ascending, and the value that as many of all entries are
        below.
    """
    rows, length = confidence.shape
    keep = min(keep, length)
    least = confidence.argsort(dim=1, stable=True)[:, :keep]
    stay = torch.zeros_like(confidence, dtype=torch.bool).scatter_(1, least, True)
    starts = torch.arange(rows, device=least.device)[:, None] * length
    ordered = confidence.flatten().sort().values
    below = ordered[rows * keep - 1] if keep > 0 else ordered.new_zeros(())
    above = ordered[rows * keep] if keep < length else ordered.new_ones(())
    return stay.flatten(), (least.sort(1).values + starts).flatten(), (below + above) / 2


def _uniform(key: Tensor) -> Tensor:
    """Pseudo-random numbers in (0, 1) that depend on the key alone."""
    mixed = (key * 2654435761 + 97) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 2246822519) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 3266489917) & 0x7FFFFFFF
    return ((mixed ^ (mixed >> 16)) & 0xFFFFFF).float().add(0.5) / 2**24
