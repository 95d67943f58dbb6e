import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tmt.errors import InputError
from tmt.packed import FORMAT, Artifact, Stored, container, decode, encode, read, unpack

FILES = {"config.yaml": b"format: 1", "tokenizer.json": b"{}"}


def sample() -> Artifact:
    torch.manual_seed(0)
    codes = torch.randint(-31, 32, (5, 7), dtype=torch.int8)
    tensors = {
        "matrix": Stored(torch.float32, {"codes": codes, "scales": torch.rand(5).half()}),
        "vector": Stored(torch.float32, {"value": torch.randn(3).half()}),
        "exact": Stored(torch.float64, {"value": torch.randn(2, 3, dtype=torch.float64)}),
        "steps": Stored(torch.int64, {"value": torch.tensor(7)}),
        "brain": Stored(torch.bfloat16, {"value": torch.randn(4).bfloat16()}),
        "nothing": Stored(torch.float32, {"value": torch.empty(2, 0)}),
    }
    return Artifact(FILES, tensors, {"bits": 6})


def preamble_of(content: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack_from("<I", content, 8)
    return json.loads(content[12 : 12 + length]), content[12 + length :]


def with_preamble(**changes) -> bytes:
    preamble, body = preamble_of(encode(sample()).content)
    text = json.dumps({**preamble, **changes}).encode()
    return b"tmt-pack" + struct.pack("<I", len(text)) + text + body


@pytest.mark.parametrize("codec", ["brotli", "lzma"])
def test_content_comes_back(codec: str):
    artifact = sample()
    encoded = encode(artifact, codec)
    assert encoded.codec == preamble_of(encoded.content)[0]["codec"] == codec
    again = decode(encoded.content, "x.tmt")
    assert (again.files, again.notes) == (FILES, {"bits": 6})
    assert set(again.tensors) == set(artifact.tensors)
    for name, stored in artifact.tensors.items():
        assert again.tensors[name].dtype == stored.dtype
        for key, array in stored.arrays.items():
            assert again.tensors[name].arrays[key].dtype == array.dtype
            assert torch.equal(again.tensors[name].arrays[key], array)


def test_the_order_of_tensors_does_not_matter():
    artifact = sample()
    turned = Artifact(
        dict(reversed(FILES.items())), dict(reversed(list(artifact.tensors.items()))), artifact.notes
    )
    assert encode(artifact).content == encode(turned).content


def test_values_are_codes_times_scales():
    stored = sample().tensors["matrix"]
    expected = stored.arrays["codes"].float() * stored.arrays["scales"].float()[:, None]
    assert torch.equal(stored.value(), expected)


def test_every_truncation_is_refused():
    content = encode(sample()).content
    for length in range(len(content)):
        with pytest.raises(InputError, match=r"x\.tmt is (truncated|damaged|neither)"):
            decode(content[:length], "x.tmt")
    with pytest.raises(InputError, match=r"truncated: .* bytes instead of"):
        decode(content + b"!", "x.tmt")


def test_every_changed_byte_is_noticed():
    content = encode(sample()).content
    for index in range(len(content)):
        damaged = bytearray(content)
        damaged[index] ^= 0x40
        with pytest.raises(InputError, match=r"x\.tmt"):
            decode(bytes(damaged), "x.tmt")


DAMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "neither a run folder nor an artifact"),
    "other file": (lambda: b"PK\3\4 something", "neither a run folder nor an artifact"),
    "newer": (lambda: with_preamble(format=FORMAT + 1), f"artifact format {FORMAT + 1}, .* update tmt"),
    "checksum": (lambda: with_preamble(sha256="0" * 64), "its checksum does not match; copy it again"),
    "codec": (lambda: with_preamble(codec="zip"), "damaged.*unknown compression 'zip'"),
    "no format": (lambda: with_preamble(format=None), "damaged"),
    "no sections": (lambda: with_preamble(sections={}), "damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_is_named(damage: str, tmp_path: Path):
    make, reason = DAMAGES[damage]
    path = tmp_path / "model.tmt"
    path.write_bytes(make())
    with pytest.raises(InputError, match=reason) as error:
        read(path)
    assert str(path) in str(error.value)


def test_an_unpacked_file_cannot_leave_the_folder(tmp_path: Path):
    path, folder = tmp_path / "model.tmt", tmp_path / "folder"
    folder.mkdir()
    path.write_bytes(encode(Artifact({"../evil": b"x"}, {}, {})).content)
    with pytest.raises(InputError, match="unexpected file"):
        unpack(path, folder)
    assert not (tmp_path / "evil").exists()


def test_a_run_folder_comes_out(tmp_path: Path):
    path, folder = tmp_path / "model.tmt", tmp_path / "folder"
    path.write_bytes(encode(sample()).content)
    folder.mkdir()
    unpack(path, folder)
    weights = load_file(folder / container.WEIGHTS)
    assert all(torch.equal(weights[name], stored.value()) for name, stored in sample().tensors.items())
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.tmt"):
        read(tmp_path / "nowhere.tmt")
