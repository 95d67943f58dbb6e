"""What the tests of tasks share: tasks of usual and odd sizes, a and a generator."""

from torch import Generator

from tmt.tasks import TASKS, Task
from tmt.tasks.copy import Copy, SelectiveCopy, VariableCopy
from tmt.tasks.in_context import Induction, Labels
from tmt.tasks.markov import Markov
from tmt.tasks.mqar import MQAR
from tmt.tasks.text_retrieval import TextRetrieval

ODD_SIZES: tuple[Task, ...] = (
    Copy(symbols=1, half=1),
    Copy(symbols=3, half=7),
    VariableCopy(symbols=3, shortest=1, longest=9),
    VariableCopy(shortest=5, longest=5),
    SelectiveCopy(symbols=2, marked=3, blanks=0),
    SelectiveCopy(marked=1, blanks=6),
    MQAR(n_keys=5, n_values=1, pairs=5, length=15),
    MQAR(n_keys=7, n_values=3, pairs=1, length=3),
    MQAR(n_keys=300, pairs=3, length=41, power=1.0),
    Labels(symbols=1, labels=3, pairs=2),
    Labels(symbols=5, labels=1, pairs=9),
    Markov(states=2, length=3),
    Markov(states=5, length=33),
    Induction(symbols=2, length=4, repeats=2, decoys=0),
    Induction(symbols=3, length=6, repeats=2, decoys=0),
    Induction(symbols=9, length=10, repeats=5, decoys=0),
    Induction(symbols=6, length=18, repeats=3, decoys=4),
    TextRetrieval(lines=26, queries=26, name_letters=1, value_letters=1),
    TextRetrieval(lines=1, queries=1, name_letters=3, value_letters=4),
)

ALL = [*((name, kind()) for name, kind in TASKS.items()), *((repr(task), task) for task in ODD_SIZES)]
NAMES, EVERY_TASK = zip(*ALL, strict=True)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)
