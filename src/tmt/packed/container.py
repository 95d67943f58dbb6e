"""The file format.

| bytes | what |
|---|---|
| 8 | `tmt-pack` |
| 4 | length of the preamble, little-endian |
| … | preamble, JSON: `format`, `codec`, the `sha256` of all that follows, the lengths of its `sections` |
| … | header, compressed JSON: the `files` with their lengths, the `tensors`, `notes` on how it was made |
| … | files, compressed: configuration and tokenizer, one after another |
| … | arrays of the tensors, byte-shuffled and compressed: wide elements first, then by name |

Nothing in it is code and no reader executes any. The same content gives the same bytes.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from tmt.errors import InputError
from tmt.packed.compression import Codec, best_codec, compress, decompress, shuffle, unshuffle
from tmt.packed.tensors import DTYPES, Stored, from_bytes, to_bytes

FORMAT = 1
"""Version of the file format; a newer one is refused."""
MAGIC = b"tmt-pack"
FILES = ("config.yaml", "tokenizer.json", "tokenizer.model")
"""Files of a run folder that an artifact may hold."""
WEIGHTS = "model.safetensors"
_LENGTH = struct.Struct("<I")
_SECTIONS = ("header", "files", "tensors")


@dataclass(frozen=True)
class Artifact:
    """What an artifact holds."""

    files: Mapping[str, bytes]
    """By names from FILES."""
    tensors: Mapping[str, Stored]
    """By their names in the model's state."""
    notes: Mapping[str, Any]
    """How it was made; JSON."""


@dataclass(frozen=True)
class Encoded:
    """An artifact as bytes."""

    content: bytes
    codec: Codec
    sections: Mapping[str, int]
    """Bytes of header, files and tensors; the preamble is what is left."""


def encode(artifact: Artifact, codec: Codec | None = None) -> Encoded:
    """The bytes of an artifact, compressed by `codec` (None: the best that is installed)."""
    codec = codec or best_codec()
    table = {
        name: {
            "dtype": _name(stored.dtype),
            "arrays": {key: [_name(a.dtype), list(a.shape)] for key, a in stored.arrays.items()},
        }
        for name, stored in artifact.tensors.items()
    }
    files = {name: len(content) for name, content in artifact.files.items()}
    header = _json({"files": files, "tensors": table, "notes": artifact.notes})
    arrays = (artifact.tensors[name].arrays[key] for name, key in _order(table))
    parts = {
        "header": compress(header, codec),
        "files": compress(b"".join(artifact.files[name] for name in sorted(files)), codec),
        "tensors": compress(shuffle(b"".join(map(to_bytes, arrays))), codec),
    }
    body = b"".join(parts[name] for name in _SECTIONS)
    sections = {name: len(part) for name, part in parts.items()}
    preamble = _json(
        {"format": FORMAT, "codec": codec, "sha256": sha256(body).hexdigest(), "sections": sections}
    )
    return Encoded(b"".join([MAGIC, _LENGTH.pack(len(preamble)), preamble, body]), codec, sections)


def decode(content: bytes, name: str) -> Artifact:
    """Undo :func:`encode`.

    Args:
        content: the bytes.
        name: what to call them in errors.

    Raises:
        InputError: they are no artifact, a newer one, truncated or damaged; or brotli is not installed.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise InputError(f"{name} is neither a run folder nor an artifact that `tmt pack` made")
    again = "copy it again, or pack the run again"
    try:
        start = len(MAGIC) + _LENGTH.size
        body = start + _LENGTH.unpack_from(content, len(MAGIC))[0]
        preamble = json.loads(content[start:body])
        if preamble["format"] > FORMAT:
            raise InputError(
                f"{name} has artifact format {preamble['format']}, this version of tmt reads {FORMAT}: "
                "a newer one made it; update tmt"
            )
        sizes = [preamble["sections"][section] for section in _SECTIONS]
        if len(content) != body + sum(sizes):
            whole = body + sum(sizes)
            raise InputError(f"{name} is truncated: {len(content):,} bytes instead of {whole:,}; {again}")
        if sha256(content[body:]).hexdigest() != preamble["sha256"]:
            raise InputError(f"{name} is damaged, its checksum does not match; {again}")
        ends = [body + sum(sizes[:count]) for count in range(len(sizes) + 1)]
        parts = (content[a:b] for a, b in pairwise(ends))
        header, files, arrays = (decompress(part, preamble["codec"]) for part in parts)
        return _parse(json.loads(header), files, memoryview(unshuffle(arrays)))
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise InputError(f"{name} is damaged: {error!r}; {again}") from error


def read(path: Path) -> Artifact:
    """The artifact of a file; InputError as by :func:`decode`, or where the file cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return decode(content, str(path))


def unpack(path: Path, folder: Path) -> Artifact:
    """Write the run folder that an artifact stands for into an existing folder; returns the artifact.

    Raises:
        InputError: as by :func:`decode`, or the folder cannot be written.
    """
    artifact = read(path)
    try:
        for name, content in artifact.files.items():
            (folder / name).write_bytes(content)
        values = {name: stored.value().contiguous() for name, stored in artifact.tensors.items()}
        save_file(values, folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot unpack {path} into {folder}: {error}") from error
    return artifact


def _parse(header: dict[str, Any], content: bytes, arrays: memoryview) -> Artifact:
    files, done = {}, 0
    for name, size in sorted(header["files"].items()):
        if name not in FILES:
            raise ValueError(f"unexpected file {name!r}")
        files[name] = content[done : done + size]
        done += size
    table, found, done = header["tensors"], {name: {} for name in header["tensors"]}, 0
    for name, key in _order(table):
        dtype, shape = table[name]["arrays"][key]
        size = DTYPES[dtype].itemsize
        for length in shape:
            size *= length
        found[name][key] = from_bytes(arrays[done : done + size], DTYPES[dtype], shape)
        done += size
    tensors = {name: Stored(DTYPES[table[name]["dtype"]], found[name]) for name in table}
    return Artifact(files, tensors, header["notes"])


def _order(table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(tensor, array) as they lie in the file: the widest elements first, so that halves stay in step."""
    pairs = ((name, key) for name, entry in table.items() for key in entry["arrays"])
    yield from sorted(pairs, key=lambda pair: (-DTYPES[table[pair[0]]["arrays"][pair[1]][0]].itemsize, *pair))


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
