import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tmt.errors import InputError
from tmt.text import Corpus, Reading, open_corpus
from tmt.text.folders import Listing

LINES = {f"{i}.txt": f"line {i} " * 30 + "\n" for i in range(30)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty texts."""
    found = tmp_path / "f"
    found.mkdir()
    for name, text in LINES.items():
        (found / name).write_text(text, encoding="utf-8")
    return found


def texts_of(corpus: Corpus) -> list[str]:
    return sorted(text for _, text in corpus.labelled())


def names_of(folder: Path, **reading: bool) -> list[str]:
    listing = Listing(folder, Reading(**reading))
    return [str(file.relative_to(folder)) for file in listing.files]


def test_hidden_files_and_folders_are_passed_over_and_named(folder: Path) -> None:
    for hidden in (".ipynb_checkpoints", ".git"):
        (folder / hidden).mkdir()
        (folder / hidden / "1-checkpoint.txt").write_text("line 1 old", encoding="utf-8")
    (folder / "._2.txt").write_bytes(b"\0\5\26")
    corpus = open_corpus(str(folder))
    assert texts_of(corpus) == sorted(LINES.values())
    assert corpus.listing == (
        f"folder {folder}: 30 files (30 .txt); passed over 3: ._2.txt, .git, .ipynb_checkpoints (hidden)"
    )
    assert open_corpus(str(folder / ".git" / "..")).listing.endswith("(hidden)")


def test_a_hidden_folder_that_is_named_is_read(folder: Path) -> None:
    hidden = folder.rename(folder.with_name(".f"))
    assert texts_of(open_corpus(str(hidden))) == sorted(LINES.values())


def test_texts_of_every_kind_are_taken_and_others_named(folder: Path) -> None:
    for i, suffix in enumerate([".md"] * 10 + [".rst"] * 5):
        (folder / f"{i}.txt").rename(folder / f"{i}{suffix}")
    for other in ("a.png", "b.png", "c.pdf", "Makefile", "d.py"):
        (folder / other).write_bytes(b"\0")
    corpus = open_corpus(str(folder))
    assert texts_of(corpus) == sorted(LINES.values())
    assert "30 files (10 .md, 5 .rst, 15 .txt)" in corpus.listing
    assert "passed over 5: Makefile, a.png, b.png and 2 more (not a known kind of text)" in corpus.listing


OTHER_ROWS: dict[str, str] = {
    "config.json": json.dumps({"name": "x"}),
    "numbers.json": "[1, 2]",
    "broken.json": "{",
    "table.csv": "id,year\n1,1790\n",
    "table.tsv": "id\tyear\n1\t1790\n",
}


@pytest.mark.parametrize("name", OTHER_ROWS)
def test_a_table_or_settings_among_texts_are_passed_over_and_named(folder: Path, name: str) -> None:
    (folder / name).write_text(OTHER_ROWS[name], encoding="utf-8")
    corpus = open_corpus(str(folder))
    assert texts_of(corpus) == sorted(LINES.values())
    assert f"passed over 1: {name} (no" in corpus.listing


def test_only_tables_without_the_field(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,body\n1,x\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"no text file .*passed over 1: a\.csv \(no field 'text'; set text_"
    ):
        open_corpus(str(tmp_path))


def test_rows_of_a_folder_are_taken_by_their_field(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "id,body\n" + "".join(f"{i},{i} words\n" for i in range(10)), encoding="utf-8"
    )
    (tmp_path / "b.json").write_text(
        json.dumps([{"body": f"{i} words"} for i in range(10, 20)]), encoding="utf-8"
    )
    (tmp_path / "c.jsonl").write_text(
        "".join(f'{{"body": "{i} words"}}\n' for i in range(20, 30)), encoding="utf-8"
    )
    found = texts_of(open_corpus(str(tmp_path), text_field="body"))
    assert found == sorted(f"{i} words" for i in range(30))


def test_links_are_followed_once_and_inside_only(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "far.txt").write_text("from far away " * 20, encoding="utf-8")
    (folder / ".store").mkdir()
    (folder / ".store" / "kept.txt").write_text("kept " * 20, encoding="utf-8")
    links = {
        "again.txt": "1.txt", "here": ".", "current": ".store", "same": ".store", "up": "..",
        "out": "../elsewhere", "far.txt": "../elsewhere/far.txt", "gone": "nowhere", "round": "round",
    }  # fmt: skip
    for name, target in links.items():
        (folder / name).symlink_to(target)
    assert names_of(folder) == sorted([*LINES, "current/kept.txt"])
    said = open_corpus(str(folder)).listing
    assert "far.txt, out, up (a link out of the folder; --follow-links reads it)" in said
    assert "gone, round (a link to nothing)" in said
    assert names_of(folder, follow_links=True) == sorted([*LINES, "current/kept.txt", "far.txt"])


def test_a_folder_of_nothing_but_a_link(tmp_path: Path, folder: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "texts").symlink_to(folder)
    with pytest.raises(
        InputError, match=r"holds no text file .*: texts \(a link out of the folder; --follow"
    ):
        open_corpus(str(linked))
    assert texts_of(open_corpus(str(linked), follow_links=True)) == sorted(LINES.values())


def test_what_is_no_file_is_passed_over(folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    (folder / "deep.txt").mkdir()
    (folder / "deep.txt" / "inner.txt").write_text("inside", encoding="utf-8")
    assert names_of(folder) == sorted([*LINES, "deep.txt/inner.txt"])
    assert "pipe.txt (not a file)" in open_corpus(str(folder)).listing


def test_a_folder_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(path)

    (folder / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot read .*locked: Permission denied"):
        open_corpus(str(folder))


def test_the_key_is_of_the_texts_not_of_what_lies_beside_them(folder: Path) -> None:
    key = open_corpus(str(folder)).key
    (folder / "a.png").write_bytes(b"\0")
    assert open_corpus(str(folder)).key == key
    assert open_corpus(str(folder), on_bad_row="skip").key != key
    assert open_corpus(str(folder), separator="x").key != key
