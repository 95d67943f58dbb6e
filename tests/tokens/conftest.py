from collections.abc import Iterator
from pathlib import Path

import pytest

from tmt.text import Split
from tmt.text.corpus import Corpus, MemoryCorpus
from tmt.tokens import Tokenizer, make_tokenizer

SENTENCE = "the mesh of tokens sees no later one while a gate lets easy ones leave early 1790 2026 "
TEXTS = [SENTENCE[i % 80 :] + SENTENCE * (1 + i % 7) + f"number {i}.\n" for i in range(200)]


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return MemoryCorpus("words", "key-of-words", TEXTS)


class CountingCorpus(MemoryCorpus):
    """Counts the passes made over its documents."""

    passes = 0

    def labelled(self) -> Iterator[tuple[Split, str]]:
        self.passes += 1
        return super().labelled()


@pytest.fixture
def counting_corpus() -> CountingCorpus:
    return CountingCorpus("words", "key-of-words", TEXTS)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session", params=["bytes", "bpe:330", "sp:330", "sp:330:nfkc"])
def tokenizer(request: pytest.FixtureRequest, corpus: Corpus, cache: Path) -> Tokenizer:
    return make_tokenizer(request.param, corpus, cache)
