"""Documents from local files of text or of rows."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tmt.errors import unknown
from tmt.text import rows
from tmt.text.documents import LONGEST_TEXT, documents_of, parted, parted_by
from tmt.text.faults import Broken, Fault, Row, text_of
from tmt.text.lines import blocks, blocks_of_lines, lines
from tmt.text.reading import Reading
from tmt.text.tally import Tally

TEXT_KINDS = (".txt", ".md", ".rst")
ROW_KINDS = (".jsonl", ".json", ".csv", ".tsv")
COMPRESSIONS = (".gz", ".zst")
_PLAIN_KINDS = (*TEXT_KINDS, *ROW_KINDS)
FILE_KINDS = (*_PLAIN_KINDS, *(kind + end for kind in _PLAIN_KINDS for end in COMPRESSIONS), ".parquet")
"""What the name of a file that can be read ends in."""
PLAIN_TEXT = tuple(kind + end for kind in TEXT_KINDS for end in ("", *COMPRESSIONS))
"""Those of text, which has no rows."""


def read_documents(path: Path, reading: Reading, tally: Tally) -> Iterator[str]:
    """The documents of one file that hold more than white space, in order; counted in `tally`.

    Line ends stay as they are, in text and in rows. A file of text is parted into documents (see
    :attr:`Reading.separator`); in the other formats a row is a document. A row whose text is null is
    passed over.

    Raises:
        InputError: the file cannot be opened or is of an unknown kind; a row is bad where that is to stop.
    """
    return documents_of(read_rows(path, reading), reading, tally)


def read_rows(path: Path, reading: Reading) -> Iterator[Row]:
    """The texts of one file, or what is wrong with them; ends with a fault where the file is damaged."""
    count = 0
    try:
        for row in _rows(path, reading):
            yield row
            count += 1
    except Broken as broken:
        behind = f" (after row {count:,})" if count else ""
        yield Fault(broken.fault.kind, f"{broken.fault.message}{behind}")


def file_kind(path: Path) -> str:
    """The entry of `FILE_KINDS` that the name ends in.

    Raises:
        InputError: it ends in none of them.
    """
    name = path.name.lower()
    if found := [kind for kind in FILE_KINDS if name.endswith(kind)]:
        return found[0]
    raise unknown("file type", "".join(path.suffixes[-2:]) or path.name, FILE_KINDS, f"(file {path})")


def holds_more(path: Path) -> bool:
    """Whether a file may hold more text than it has bytes."""
    return path.name.lower().endswith((*COMPRESSIONS, ".parquet"))


def _rows(path: Path, reading: Reading) -> Iterator[Row]:
    kind, strict, field = file_kind(path), reading.on_bad_row == "stop", reading.text_field
    for compression in COMPRESSIONS:
        kind = kind.removesuffix(compression)
    match kind:
        case ".jsonl":
            return rows.json_lines(lines(path, strict), path, field)
        case ".json":
            return rows.json_values(blocks(path, strict), path, field)
        case ".csv" | ".tsv":
            delimiter = "," if kind == ".csv" else "\t"
            return rows.separated_values(lines(path, strict), path, field, delimiter)
        case ".parquet":
            return rows.parquet(path, field)
    if reading.separator is None:
        return _checked(parted(blocks_of_lines(path, strict, LONGEST_TEXT)), path)
    return _checked(parted_by(blocks(path, strict), reading.separator), path)


def _checked(documents: Iterable[str], path: Path) -> Iterator[Row]:
    for number, document in enumerate(documents, start=1):
        yield text_of(document, f"{path}, document {number}")
