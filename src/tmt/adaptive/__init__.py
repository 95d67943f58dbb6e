"""Scoring a stream that may teach: sliding windows, and parts that learn from what was scored.

`make_pass` of :class:`ScoreSettings` puts a pass together, :class:`AdaptivePass` runs it, and
:func:`tmt.adaptive.audit.audit` proves that it keeps the rules.
"""

from tmt.adaptive.audit import AuditReport, RuleError
from tmt.adaptive.memory_bank import MemoryBank
from tmt.adaptive.neural_cache import NeuralCacheSettings
from tmt.adaptive.own_part import OwnPart
from tmt.adaptive.part import Block, Chunk, Part
from tmt.adaptive.report import Task, adaptive_report, audit_run
from tmt.adaptive.score_first_training import TrainingSettings
from tmt.adaptive.scoring import AdaptivePass, ChunkScore, PassSettings
from tmt.adaptive.settings import ScoreSettings
from tmt.adaptive.tap_in import TapInSettings

__all__ = [
    "AdaptivePass",
    "AuditReport",
    "Block",
    "Chunk",
    "ChunkScore",
    "MemoryBank",
    "NeuralCacheSettings",
    "OwnPart",
    "Part",
    "PassSettings",
    "RuleError",
    "ScoreSettings",
    "TapInSettings",
    "Task",
    "TrainingSettings",
    "adaptive_report",
    "audit_run",
]
