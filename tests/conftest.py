import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported; see tmt.machine.prepare

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, by whichever test

settings.register_profile("tmt", derandomize=True, deadline=None, max_examples=20, database=None)
settings.load_profile("tmt")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shows(configuration, *fields): what test_every_field.py looks for")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that no process is left alone with it."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def one_thread_and_one_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
