import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, by whichever test

settings.register_profile("tmt", derandomize=True, deadline=None, max_examples=20, database=None)
settings.load_profile("tmt")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shows(configuration, *fields): what test_every_field.py looks for")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
