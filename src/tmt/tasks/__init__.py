"""Synthetic tasks with known answers: what an architecture can copy, look up, and learn in context."""

from tmt.tasks.copy import Copy, SelectiveCopy, VariableCopy
from tmt.tasks.in_context import Induction, Labels
from tmt.tasks.markov import Markov
from tmt.tasks.mqar import MQAR
from tmt.tasks.task import Batch, Prediction, Task
from tmt.tasks.text_retrieval import TextRetrieval

__all__ = ["TASKS", "Batch", "Prediction", "Task"]

TASKS: dict[str, type[Task]] = {
    "copy": Copy,
    "copy-variable": VariableCopy,
    "copy-selective": SelectiveCopy,
    "mqar": MQAR,
    "labels": Labels,
    "markov": Markov,
    "induction": Induction,
    "text-retrieval": TextRetrieval,
}
"""The tasks by name, each with the sizes it has unless told otherwise."""
