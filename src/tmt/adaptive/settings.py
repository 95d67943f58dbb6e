"""What a score is made of, and the pass that it describes."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from tmt.adaptive.matching import make_matcher
from tmt.adaptive.memory_bank import MemoryBank
from tmt.adaptive.neural_cache import NeuralCache, NeuralCacheSettings
from tmt.adaptive.own_part import OwnPart
from tmt.adaptive.part import Part
from tmt.adaptive.score_first_training import ScoreFirstTraining, TrainingSettings
from tmt.adaptive.scoring import AdaptivePass, PassSettings
from tmt.adaptive.tap_in import TapIn, TapInSettings
from tmt.evaluate.windows import Tokens
from tmt.model.base import LanguageModel
from tmt.training.distributed import Ranks

PARTS = ("training", "memory", "cache", "tap_in", "own")
"""Fields of :class:`ScoreSettings` that switch a part on, in the order in which the parts come."""


@dataclass(frozen=True)
class ScoreSettings:
    """How a stream is cut, and the settings of every part that is on."""

    cut: PassSettings
    training: TrainingSettings | None = None
    memory: bool = False
    """Stream a TMT's memory bank."""
    cache: NeuralCacheSettings | None = None
    tap_in: TapInSettings | None = None
    own: OwnPart | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts that are on."""
        return tuple(name for name in PARTS if getattr(self, name))

    def having(self, *parts: str) -> Self:
        """The same with those parts of its own alone."""
        off = {name: False if name == "memory" else None for name in self.parts if name not in parts}
        return replace(self, **off)

    def static(self) -> Self:
        """Windows side by side and no part: what a plain evaluation does."""
        return replace(self.having(), cut=replace(self.cut, stride=self.cut.window))

    def variants(self) -> dict[str, Self]:
        """Every part by itself, and all but every part, by a name; and sliding windows without any part."""
        variants = {"sliding": self.having()}
        if len(self.parts) > 1:
            for name in self.parts:
                variants[f"sliding + {name}"] = self.having(name)
            if len(self.parts) > 2:
                for name in self.parts:
                    others = [part for part in self.parts if part != name]
                    variants[f"all but {name}"] = self.having(*others)
        return variants

    def make_pass(
        self,
        model: LanguageModel,
        tokens: Tokens,
        document_start: int,
        ranks: Ranks,
        targets: int | None = None,
    ) -> AdaptivePass:
        """A fresh pass over a stream in which `document_start` begins a document.

        The model itself is left as it is: where a part changes it, the pass has a copy.

        Raises:
            InputError: the settings do not fit the model or the stream.
        """
        if self.training or self.memory or self.own:
            model = copy.deepcopy(model)
        parts = list(self._parts(model, document_start))
        return AdaptivePass(model, tokens, parts, self.cut, ranks, targets)

    def _parts(self, model: LanguageModel, document_start: int) -> Iterator[Part]:
        if self.training:
            yield ScoreFirstTraining(model, self.training, self.cut.window)
        if self.memory:
            yield MemoryBank(model, self.cut.window)
        if self.cache:
            yield NeuralCache(self.cache)
        if self.tap_in:
            matcher = make_matcher(
                self.tap_in.mode,
                vocab_size=model.config.vocab_size,
                document_start=document_start,
                window=self.cut.window,
                stride=self.cut.stride,
                min_match=self.tap_in.min_match,
                max_match=self.tap_in.max_match,
            )
            yield TapIn(self.tap_in, matcher)
        if self.own:
            yield self.own.make(model)
