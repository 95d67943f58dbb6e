"""The real `datasets` client streams local folders that are laid out like data sets of the hub."""

import json
import os
import sys
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tmt.errors import InputError
from tmt.text import SPLITS, hub, open_corpus
from tmt.text.hub import HubSource
from tmt.text.wikitext import articles

ARTICLES = [
    f" = Title {i} = \n \n Opening words of {i} . \n \n = = Section = = \n \n More , x = {i} . \n \n"
    for i in range(9)
]


def make_dataset(folder: Path, config: str, *, parquet: bool = False, **splits: list[str]) -> Path:
    """A data set of one named configuration."""
    folder.mkdir()
    header = [f"  - split: {split}\n    path: {split}.*\n" for split in splits]
    card = f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{''.join(header)}---\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    for split, texts in splits.items():
        if parquet:
            table = pa.table({"text": texts, "id": [1] * len(texts)})
            pq.write_table(table, folder / f"{split}.parquet", row_group_size=4)
        else:
            rows = "".join(json.dumps({"text": text, "id": 1}) + "\n" for text in texts)
            (folder / f"{split}.jsonl").write_text(rows, encoding="utf-8")
    return folder


def alias(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> None:
    known = hub.ALIASES[name]
    monkeypatch.setitem(hub.ALIASES, name, HubSource(str(folder), known.config, known.lines_of_articles))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", tmp_path / "modules")


def test_wikitext_rows_become_articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(texts: list[str]) -> list[str]:
        lines = ["\n", *(line for text in texts for line in text.splitlines(keepends=True))]
        return ["" if not line.strip() else line for line in lines]

    folder = make_dataset(
        tmp_path / "wikitext",
        "wikitext-2-raw-v1",
        parquet=True,
        train=rows(ARTICLES[:6]),
        validation=rows(ARTICLES[6:8]),
        test=rows(ARTICLES[8:]),
    )
    alias(monkeypatch, "wikitext-2", folder)
    corpus = open_corpus("wikitext-2")
    found = {split: list(corpus.documents(split)) for split in SPLITS}
    assert [len(found[split]) for split in SPLITS] == [6, 2, 1]
    expected = [text.replace(" \n \n", " \n\n") for text in ARTICLES[:6]]
    assert [text.strip() for text in found["train"]] == [text.strip() for text in expected]
    assert [split for split, _ in corpus.labelled()] == ["train"] * 6 + ["valid"] * 2 + ["test"]


def test_one_held_out_split_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = [f"held out {i}" for i in range(60)]
    folder = make_dataset(tmp_path / "c4", "en", train=["web page"] * 5, validation=held_out)
    alias(monkeypatch, "c4", folder)
    corpus = open_corpus("c4")
    valid, test = list(corpus.documents("valid")), list(corpus.documents("test"))
    assert sorted(valid + test) == sorted(held_out)
    assert min(len(valid), len(test)) > 15
    assert list(corpus.documents("train")) == ["web page"] * 5


def test_without_held_out_split_hashes_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"story {i}" for i in range(300)]
    alias(monkeypatch, "tinystories", make_dataset(tmp_path / "stories", "default", train=texts))
    corpus = open_corpus("tinystories")
    found = {split: list(corpus.documents(split)) for split in SPLITS}
    assert all(found.values())
    assert sorted(chain(*found.values())) == sorted(texts)


def test_max_bytes_bounds_every_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["0123456789"] * 100
    folder = make_dataset(tmp_path / "c4", "en", train=texts, validation=texts, test=texts)
    alias(monkeypatch, "c4", folder)
    corpus = open_corpus("c4", max_bytes=1000)
    sizes = {split: sum(map(len, corpus.documents(split))) for split in SPLITS}
    assert sizes == {"train": 900, "valid": 50, "test": 50}
    assert corpus.key != open_corpus("c4", max_bytes=2000).key
    assert corpus.key == open_corpus("c4", max_bytes=1000).key


def test_wrong_field_and_missing_train_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alias(monkeypatch, "c4", make_dataset(tmp_path / "c4", "en", train=["page"]))
    with pytest.raises(
        InputError, match="data set 'c4': no field 'body'; set text_field to one of: text, id"
    ):
        next(open_corpus("c4", text_field="body").documents("train"))
    alias(monkeypatch, "c4", make_dataset(tmp_path / "odd", "en", test=["page"]))
    with pytest.raises(InputError, match="data set 'c4' has no train split, only: test"):
        open_corpus("c4")


def test_broken_stream_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_dataset(tmp_path / "c4", "en", train=["page"])
    alias(monkeypatch, "c4", folder)
    (folder / "train.jsonl").write_text('{"text": "fine"}\n{"text": broken\n', encoding="utf-8")
    with pytest.raises(InputError, match="data set 'c4': reading failed: ") as caught:
        list(open_corpus("c4").documents("train"))
    assert "\n" not in str(caught.value)


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def refuse(path: str, config: str | None) -> None:
        asked.append((path, config))
        raise ConnectionError("Couldn't reach the Hub\nand a long story")

    monkeypatch.setattr(datasets, "load_dataset_builder", refuse)
    for name in ("owner/name", "owner/name:config", "wikitext-103"):
        with pytest.raises(
            InputError, match=rf"cannot open hub data set '{name}'.*Couldn't reach the Hub; check"
        ) as e:
            open_corpus(name)
        assert "\n" not in str(e.value)
    assert asked == [
        ("owner/name", None),
        ("owner/name", "config"),
        ("Salesforce/wikitext", "wikitext-103-raw-v1"),
    ]


def test_unknown_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alias(monkeypatch, "c4", make_dataset(tmp_path / "c4", "fr", train=["page"]))
    with pytest.raises(InputError, match="'en' not found"):
        open_corpus("c4")


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install \"temporalmesh-transformer\[data\]\""):
        open_corpus("c4")


def test_articles_on_the_published_text() -> None:
    if not (where := os.environ.get("TMT_TEST_WIKITEXT")):
        pytest.skip("set TMT_TEST_WIKITEXT to the file wikitext-2.valid.txt")
    sample = Path(where)
    with sample.open(encoding="utf-8-sig") as lines:
        found = list(articles(lines))
    assert len(found) == 60
    assert found[0].strip().startswith("= Homarus gammarus = \n")
    assert "".join(found) == sample.read_text(encoding="utf-8-sig") + "\n"


def test_only_level_one_headings_after_a_blank_line_start_an_article() -> None:
    rows = [
        " = One = \n",
        "",
        " = = Part = = ",
        "a = b = c",
        " = not a title = \n",
        "",
        " = 2 = ",
        " = = = Deep = = = ",
    ]
    found = list(articles(rows))
    assert [text.split("\n")[0].strip() for text in found] == ["= One =", "= 2 ="]
    assert list(articles(["", " "])) == []
