"""The audit of a pass: does its score obey the rules, whatever its parts do?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tmt.adaptive.audit.rules import (
    Finding,
    acted,
    agreement,
    causal_model,
    normalised,
    score_before_update,
    single_pass,
    strict_causality,
)
from tmt.adaptive.audit.veil import Veil, veiled_losses
from tmt.adaptive.audit.witness import Witness
from tmt.adaptive.scoring import AdaptivePass, PassSettings
from tmt.errors import BrokenPromiseError, InputError
from tmt.evaluate.windows import Tokens
from tmt.model.common_config import ModelConfig

__all__ = ["AUDIT_TOKENS", "AuditReport", "Finding", "RuleError", "audit", "audit_settings"]

AUDIT_TOKENS = 600
"""Length of a stream that shows enough."""
WINDOW = 64


class RuleError(BrokenPromiseError):
    """A score breaks the rules: it is no measure of the model."""


@dataclass(frozen=True)
class AuditReport:
    """One finding a rule."""

    findings: tuple[Finding, ...]
    nats: Tensor
    """(chunk, 1 + parts) float64: the losses of the first chunk, before anything is learnt that could make
    errors of rounding grow."""

    def beside(self, exact: Self) -> Self:
        """These findings, those of the same pass in float64, and whether both have the same losses."""
        told = [replace(finding, rule=f"{finding.rule}, float64") for finding in exact.findings]
        return replace(self, findings=(*self.findings, *told, agreement(self.nats, exact.nats)))

    def require(self) -> None:
        """Raise RuleError with every violation, where there is one."""
        broken = [f"{finding.rule}: {finding.violation}" for finding in self.findings if not finding.passed]
        if broken:
            raise RuleError("the score breaks the rules; " + "; ".join(broken))


def audit_settings(config: ModelConfig) -> PassSettings:
    """How to cut a short stream so that there are many blocks, and several chunks to learn from."""
    stride = min(WINDOW, config.longest) // 4
    return PassSettings(window=4 * stride, stride=stride, chunk=8 * stride, batch_size=2)


def audit(make: Callable[[Tokens], AdaptivePass], tokens: Tokens, seed: int = 0) -> AuditReport:
    """Watch a pass over a stream, others in which later tokens are hidden or changed, and its model.

    A score counts as the length of a code where (1) a token is predicted from those before it, (2) by a
    whole distribution, (3) that is fixed before the token teaches anything, (4) once.

    Args:
        make: builds a pass over the tokens given; what its parts change must be new each time. What is
            audited is the code that it runs, in its number format.
        tokens: three chunks or more.
        seed: of the tokens made up.

    Raises:
        InputError: the stream is shorter, or other processes take part.
    """
    stream, random = tokens[0 : len(tokens)], np.random.default_rng(seed)
    watched = make(stream)
    if watched.ranks.size > 1:
        raise InputError("an audit watches a single process; start it without torchrun")
    if watched.chunks < 3:
        least = 2 * watched.settings.chunk + 2
        raise InputError(f"an audit needs at least three chunks, {least} tokens, got {len(stream)}")
    cuts = _cuts(watched)
    witness = Witness(watched, stream, cuts).watch()

    def others(known: int) -> npt.NDArray[np.int64]:
        """The stream with another token in each place from there on."""
        shift = random.integers(1, witness.vocab_size, len(stream) - known)
        return np.concatenate([stream[:known], (stream[known:] + shift) % witness.vocab_size])

    def altered() -> Iterator[tuple[int, Witness]]:
        for cut in cuts:
            other = others(cut + 1)
            yield cut, Witness(make(other), other, [cut]).watch(until=cut)

    veil = Veil(stream, others(0))
    veiled = veiled_losses(make, veil)
    findings = (
        strict_causality(witness, veiled, altered()),
        causal_model(watched.model),
        normalised(witness),
        score_before_update(witness, veiled, veil),
        single_pass(witness),
        acted(witness),
    )
    return AuditReport(findings, witness.nats[: watched.settings.chunk])


def _cuts(watched: AdaptivePass) -> list[int]:
    """Positions inside a block, behind a chunk's edge, and in the last chunk."""
    window, chunk, chunks = watched.settings.window, watched.settings.chunk, watched.chunks
    edge, last = chunks // 2 * chunk, (chunks - 1) * chunk
    return sorted({window // 2, edge + 1, (last + watched.targets) // 2})
