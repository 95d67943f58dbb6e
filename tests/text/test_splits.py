from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmt.text.sections import enough_documents
from tmt.text.splits import bounded, bucket, cut_at_byte_shares

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
    counts = Counter(bucket(f"document {i}") for i in range(5000))
    assert 200 < counts["valid"] < 300
    assert 200 < counts["test"] < 300
    assert bucket("document 1") == bucket("document 1")


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
@given(st.text(alphabet="ab \n", min_size=1, max_size=3000))
def test_sections_join_to_the_document(document: str) -> None:
    sections = enough_documents(["a" + document + "b"])
    kept = [section for section in sections if section.strip()]
    assert sections == kept
    rest = "a" + document + "b"
    for section in sections:
        before, rest = rest.split(section, 1)
        assert not before.strip()
    assert not rest.strip()


@pytest.mark.parametrize(
    ("document", "ends"),
    [
        ("some words of a paragraph\nin lines\n\n" * 300, "\n\n"),
        ("a line without any blank one after it, long enough\n" * 300, "\n"),
        ("one endless line " * 900, ""),
    ],
)
def test_sections_end_at_the_best_boundary(document: str, ends: str) -> None:
    sections = enough_documents([document])
    assert "".join(sections) == document
    assert all(section.endswith(ends) for section in sections)
    assert 40 <= len(sections) <= 100


def test_twenty_documents_stay_whole() -> None:
    documents = [f"a\n\nb {i}" for i in range(20)]
    assert enough_documents(documents) is documents
    assert enough_documents([]) == []
