import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.packed.compression import best_codec, compress, decompress, shuffle, unshuffle


@pytest.mark.parametrize("length", [0, 1, 2, 3, 1000, 1001])
@pytest.mark.parametrize("codec", ["brotli", "lzma"])
def test_bytes_come_back(length: int, codec: str):
    data = bytes(i * 7 % 251 for i in range(length))
    assert decompress(compress(shuffle(data), codec), codec) == shuffle(data)
    assert unshuffle(shuffle(data)) == data


@given(st.binary(max_size=40))
def test_the_shuffle_parts_even_and_odd_bytes(data: bytes):
    shuffled = shuffle(data)
    assert shuffled[5:] == data[::2] + data[1::2]
    assert shuffled[4] == 2
    assert unshuffle(shuffled) == data


@pytest.mark.parametrize("data", [b"", b"tmts", b"tmts\0abc", b"abcd\2xyz"])
def test_what_was_not_shuffled_is_refused(data: bytes):
    with pytest.raises(ValueError, match="not byte-shuffled"):
        unshuffle(data)


@pytest.mark.parametrize("codec", ["brotli", "lzma", "zip"])
def test_garbage_is_refused(codec: str):
    with pytest.raises(ValueError):
        decompress(b"garbage", codec)


def test_without_brotli_lzma_serves_and_brotli_files_name_the_way_out(monkeypatch: pytest.MonkeyPatch):
    data = compress(b"data", "brotli")
    imported = builtins.__import__

    def missing(name: str, *arguments, **options):
        if name == "brotli":
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert best_codec() == "lzma"
    with pytest.raises(InputError, match=r"pip install .*\[golf\]"):
        decompress(data, "brotli")
