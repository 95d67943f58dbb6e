from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.text import Corpus, Split, survey
from tmt.text.corpus import MemoryCorpus, StreamCorpus
from tmt.text.sections import section_size, sections
from tmt.text.splits import bounded, cut_at_byte_shares
from tmt.text.survey import Cut, Survey

quick = settings(derandomize=True, max_examples=60, deadline=None)


@quick
@given(st.lists(st.text(max_size=40), max_size=40))
def test_byte_shares_keep_equal_documents_together_and_no_split_empty(documents: list[str]) -> None:
    splits = cut_at_byte_shares(documents)
    if len(set(documents)) < 3:
        assert splits == []
        return
    assert set(splits) == {"train", "valid", "test"}
    assert len(set(zip(documents, splits, strict=True))) == len(set(documents))


def test_byte_shares_do_not_depend_on_order() -> None:
    documents = [f"document {i} " * (1 + i % 7) for i in range(200)]
    forward = dict(zip(documents, cut_at_byte_shares(documents), strict=True))
    backward = dict(zip(documents[::-1], cut_at_byte_shares(documents[::-1]), strict=True))
    assert forward == backward
    total = sum(map(len, documents))
    for split in ("valid", "test"):
        assert 0.04 < sum(len(d) for d, own in forward.items() if own == split) / total < 0.06


def test_one_huge_document_stays_in_train() -> None:
    documents = ["x" * 10_000, *(f"small {i}" for i in range(30))]
    assert cut_at_byte_shares(documents)[0] == "train"


def test_buckets_are_near_their_shares() -> None:
    counts = Counter(Cut().split(f"document {i}") for i in range(5000))
    assert 200 < counts["valid"] < 300
    assert 200 < counts["test"] < 300


@quick
@given(st.lists(st.text(min_size=1, max_size=20), max_size=10), st.integers(1, 100))
def test_bounded_is_a_prefix_of_at_most_so_many_bytes(documents: list[str], limit: int) -> None:
    taken = "".join(bounded(documents, limit))
    assert "".join(documents).startswith(taken)
    assert len(taken.encode()) <= limit


def test_bounded_reads_no_further_than_it_must() -> None:
    def endless():
        while True:
            yield "éé"

    assert list(bounded(endless(), 7)) == ["éé", "é"]


@quick
@given(st.text(alphabet="ab \r\n", min_size=1, max_size=3000))
def test_sections_join_to_the_document(document: str) -> None:
    rest = "a" + document + "b"
    for section in sections(rest, section_size(len(rest))):
        assert section.strip()
        before, rest = rest.split(section, 1)
        assert not before.strip()
    assert not rest.strip()


@pytest.mark.parametrize(
    ("document", "ends"),
    [
        ("some words of a paragraph\nin lines\n\n" * 300, "\n\n"),
        ("some words of a paragraph\r\nin lines\r\n\r\n" * 300, "\r\n\r\n"),
        ("a line without any blank one after it, long enough\n" * 300, "\n"),
        ("one endless line " * 900, ""),
    ],
)
def test_sections_end_at_the_best_boundary(document: str, ends: str) -> None:
    found = list(sections(document, section_size(len(document))))
    assert "".join(found) == document
    assert all(section.endswith(ends) for section in found)
    assert 40 <= len(found) <= 100


def shares(pieces: list[tuple[str, str]]) -> dict[str, float]:
    sizes = {split: sum(len(t.encode()) for own, t in pieces if own == split) for split in ("valid", "test")}
    return {split: size / sum(len(text.encode()) for _, text in pieces) for split, size in sizes.items()}


def words(seed: int, length: int) -> str:
    """Text in lines that does not repeat."""
    return "".join(f"{seed} {i * i} é\n" for i in range(length // 8 + 1))[:length]


MIXTURES = {
    "one": [200_000],
    "three": [1_000, 100_000, 2_000],
    "nine alike": [20_000] * 9,
    "twenty": [5_000] * 20,
    "one large of 24": [150_000, *[300] * 23],
    "two large of 400": [40_000, 60_000, *[50 + i % 100 for i in range(398)]],
    "ever larger": [int(50 * 1.2**i) for i in range(40)],
    "many": [200 + i % 50 for i in range(600)],
}


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("held", [True, False])
def test_shares_are_near_whatever_the_sizes(mixture: str, held: bool) -> None:
    documents = [words(i, size) for i, size in enumerate(MIXTURES[mixture])]
    if held:
        corpus: Corpus = MemoryCorpus("c", "k", documents)
    else:
        corpus = StreamCorpus("c", "k", lambda tally: iter(documents))
    pieces = list(corpus.labelled())
    assert sum(len(text) for _, text in pieces) == sum(map(len, documents))
    assert all(abs(share - 0.05) <= 0.01 for share in shares(pieces).values())


@pytest.mark.parametrize("count", [20, 29, 30, 100])
def test_documents_of_one_size_stay_whole_where_they_are_twenty(count: int) -> None:
    documents = [words(i, 500) for i in range(count)]
    assert sorted(text for _, text in MemoryCorpus("c", "k", documents).labelled()) == sorted(documents)


@quick
@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=60))
def test_a_stream_has_no_empty_split_or_is_refused_at_once(documents: list[str]) -> None:
    corpus = StreamCorpus("c", "k", lambda tally: iter(documents))
    pieces = pieces_of(corpus)
    if isinstance(pieces, str):
        assert len(set(documents)) < 20
        assert f"found {len(set(documents))} different ({len(documents)} documents)" in pieces
        return
    assert {split for split, _ in pieces} == {"train", "valid", "test"}
    assert {text for _, text in pieces} >= {text for text in documents if text.strip()}
    assert len(set(pieces)) == len({text for _, text in pieces})


def pieces_of(corpus: Corpus) -> list[tuple[Split, str]] | str:
    """Or why there are none."""
    try:
        return list(corpus.labelled())
    except InputError as error:
        return str(error)


def test_a_stream_that_hashes_well_is_cut_by_the_hash_alone() -> None:
    documents = [f"document {i} " * 8 for i in range(5000)]
    assert Survey(documents).cut() == Cut()


def test_what_is_different_is_counted_and_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [f"document {i % 3000}" for i in range(9000)]
    exact = Survey(documents)
    assert (exact.different, exact.exact) == (3000, True)
    monkeypatch.setattr(survey, "_MOST", 500)
    rough = Survey(documents)
    assert not rough.exact
    assert len(rough._bytes) <= 500
    assert 2500 < rough.different < 3500
