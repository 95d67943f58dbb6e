from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.tokens import Shard, TokenStream, write_shard
from tmt.tokens.shards import ShardWriter, id_dtype


def write_public(path: Path, tokens: list[int], **header: int) -> Path:
    numbers = np.zeros(256, dtype="<i4")
    numbers[:3] = (20240520, 1, len(tokens))
    for index, value in header.items():
        numbers[int(index[1:])] = value
    path.write_bytes(numbers.tobytes() + np.array(tokens, dtype="<u2").tobytes())
    return path


def test_public_format_loads_unchanged(tmp_path: Path) -> None:
    shard = Shard.open(write_public(tmp_path / "fineweb_val_000000.bin", [1, 65535, 7]))
    assert shard.tokens.dtype == np.uint16
    assert shard.tokens.tolist() == [1, 65535, 7]
    assert shard.document_starts.tolist() == []


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_round_trip(tmp_path: Path, dtype: type) -> None:
    tokens = np.arange(1001, dtype=dtype) * 60
    write_shard(tmp_path / "a.bin", tokens, [0, 10, 1000])
    shard = Shard.open(tmp_path / "a.bin")
    assert isinstance(shard.tokens, np.memmap)
    assert shard.tokens.dtype == dtype
    np.testing.assert_array_equal(shard.tokens, tokens)
    assert shard.document_starts.tolist() == [0, 10, 1000]
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_empty_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.bin", np.empty(0, dtype=np.uint16))
    assert len(Shard.open(tmp_path / "a.bin").tokens) == 0


@pytest.mark.parametrize("position", [1024, 1024 + 150, -1])
def test_flipped_bit_is_found(tmp_path: Path, position: int) -> None:
    path = tmp_path / "a.bin"
    write_shard(path, np.arange(100, dtype=np.uint16), [0, 50])
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.bin is damaged \(wrong checksum\)"):
        Shard.open(path)
    Shard.open(path, verify=False)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"h0": 7}, r"a\.bin is not a token file"),
        ({"h1": 3}, r"a\.bin has version 3; this release reads 1 and 2"),
        ({"h2": 4}, r"a\.bin has 1030 bytes where its header promises 1032"),
        ({"h2": -1}, r"a\.bin has a damaged header"),
        ({"h1": 2}, r"a\.bin has a damaged header"),
    ],
)
def test_wrong_header(tmp_path: Path, header: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Shard.open(write_public(tmp_path / "a.bin", [1, 2, 3], **header))


def test_not_a_shard(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"short")
    with pytest.raises(InputError, match="is not a token file"):
        Shard.open(tmp_path / "a.bin")
    with pytest.raises(InputError, match=r"cannot read token file .*b\.bin: No such file"):
        Shard.open(tmp_path / "b.bin")


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OverflowError), ShardWriter(tmp_path / "a.bin", np.uint16) as writer:
        writer.append([1, 70_000])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="uint16 or uint32, not int64"):
        write_shard(tmp_path / "a.bin", np.arange(3))


def test_narrowest_dtype() -> None:
    assert [id_dtype(n) for n in (257, 65536, 65537)] == [np.uint16, np.uint16, np.uint32]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=6), data=st.data())
def test_stream_slices_like_one_array(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    parts = np.split(np.arange(sum(sizes), dtype=np.uint16), np.cumsum(sizes)[:-1])
    paths = [folder / f"{i}.bin" for i in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write_shard(path, part, [0] if len(part) else [])
    stream = TokenStream.open(*paths)
    start = data.draw(st.integers(-20, 20))
    stop = data.draw(st.integers(-20, 20))
    expected = np.arange(sum(sizes))
    assert len(stream) == len(expected)
    assert stream[start:stop].dtype == np.int64
    np.testing.assert_array_equal(stream[start:stop], expected[start:stop])
    starts = [sum(sizes[:i]) for i, size in enumerate(sizes) if size]
    assert stream.document_starts.tolist() == starts


def test_stream_takes_plain_slices_only(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.bin", np.arange(9, dtype=np.uint16))
    with pytest.raises(ValueError, match="step 1"):
        TokenStream.open(tmp_path / "a.bin")[::2]
