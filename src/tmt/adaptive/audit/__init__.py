"""The audit of a pass: does its score obey the rules, whatever its parts do?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tmt.adaptive.audit.rules import (
    Finding,
    normalised,
    score_before_update,
    single_pass,
    strict_causality,
)
from tmt.adaptive.audit.training_watch import telltale_stream
from tmt.adaptive.audit.witness import Witness
from tmt.adaptive.scoring import AdaptivePass, PassSettings
from tmt.errors import InputError
from tmt.evaluate.windows import Tokens
from tmt.model.common_config import ModelConfig

__all__ = ["AUDIT_TOKENS", "AuditReport", "Finding", "RuleError", "audit", "audit_settings"]

AUDIT_TOKENS = 600
"""Length of a stream that shows enough."""
WINDOW = 64


class RuleError(RuntimeError):
    """A score breaks the rules: it is no measure of the model."""


@dataclass(frozen=True)
class AuditReport:
    """One finding a rule."""

    findings: tuple[Finding, ...]

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
    """Watch passes over a stream, over others that differ from it in their ends, and over a telltale one.

    A score counts as the length of a code where (1) a token is predicted from those before it, (2) by a
    whole distribution, (3) that is fixed before the token teaches anything, (4) once.

    Args:
        make: builds a pass over the tokens given; what its parts change must be new each time. Best of a
            model in float64: rounding errors of float32 may depend on later tokens.
        tokens: three chunks or more.
        seed: of the streams made up.

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

    def altered() -> Iterator[tuple[int, Witness]]:
        for cut in cuts:
            shift = random.integers(1, witness.vocab_size, len(stream) - cut - 1)
            other = np.concatenate([stream[: cut + 1], (stream[cut + 1 :] + shift) % witness.vocab_size])
            yield cut, Witness(make(other), other, [cut]).watch(until=cut)

    telltale = telltale_stream(len(stream), witness.vocab_size, random)
    return AuditReport(
        (
            strict_causality(witness, _alone(make(stream)), altered()),
            normalised(witness),
            score_before_update(Witness(make(telltale), telltale).watch()),
            single_pass(witness),
        )
    )


def _alone(scoring: AdaptivePass) -> Tensor:
    """Losses (N, S) where no part is shown a token before the one that it follows is booked."""
    scoring.rows = 1
    nats = torch.full((len(scoring.tokens) - 1, 1 + len(scoring.parts)), torch.nan).double()
    for chunk in scoring.run():
        nats[chunk.start : chunk.start + len(chunk.nats)] = torch.from_numpy(chunk.nats)
    return nats


def _cuts(watched: AdaptivePass) -> list[int]:
    """Positions inside blocks and chunks, around a chunk's edge, and in the last chunk."""
    window, chunk, chunks = watched.settings.window, watched.settings.chunk, watched.chunks
    edge, last = chunks // 2 * chunk, (chunks - 1) * chunk
    inside = {window // 2, chunk + chunk // 2 + 1, (last + watched.targets) // 2}
    return sorted({edge - 1, edge, edge + 1, *inside} - {0})
