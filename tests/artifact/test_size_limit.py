import re
from pathlib import Path

import pytest
from packable import packer, settings

import tmt
from tmt.artifact import Size, bringing_under, fit
from tmt.artifact.code_size import code_bytes, needed_files
from tmt.artifact.pack import Packer, Packing
from tmt.errors import InputError


def test_the_gate_shuts_one_byte_above_the_limit():
    size = Size(artifact=900, code=100)
    assert [size.exceeds(limit) for limit in (999, 1000, 1001, None)] == [True, False, False, False]
    message = str(size.refusal(999, "way out"))
    assert "1,000 bytes (900 artifact + 100 code) exceed the limit of 999 by 1; way out" in message


def test_the_advice_brings_it_under():
    work = packer()
    packing, elements = work.pack(settings()), work.elements(settings())
    limit = packing.size.total - 800
    advised = re.search(r"--clip ([\d.]+) should bring it under", bringing_under(packing, elements, limit))
    assert advised is not None
    again = work.pack(settings(clip=float(advised[1])))
    assert abs(again.size.total - limit) < 0.3 * 800
    assert "no --clip alone" in bringing_under(packing, elements, 1001)
    assert "the code alone" in bringing_under(packing, elements, 999)


def fitted(work: Packer, limit: int) -> Packing:
    return fit(
        work.pack,
        lambda packing: sum(packing.errors.values()),
        settings(),
        work.elements(settings()),
        limit,
    )


@pytest.mark.parametrize("change", [-700, 1500])
def test_fitting_uses_the_limit_up(change: int):
    work = packer()
    limit = work.pack(settings()).size.total + change
    found = fitted(work, limit)
    assert 0.98 * limit < found.size.total <= limit
    assert (found.settings.clip > 12.85) == (change < 0)


def test_fitting_chooses_by_the_loss():
    work = packer()
    limit = work.pack(settings()).size.total - 300
    tried: list[Packing] = []

    def loss(packing: Packing) -> float:
        tried.append(packing)
        return -packing.settings.embed_clip

    found = fit(work.pack, loss, settings(), work.elements(settings()), limit)
    assert found.settings.embed_clip == 30.0
    assert {packing.settings.embed_clip for packing in tried} == {15.0, 20.0, 30.0}


def test_a_limit_that_cannot_be_met_is_refused():
    with pytest.raises(InputError, match=r"exceed the limit of 3,000 by .*no clip width fits.*fewer --bits"):
        fitted(packer(), 3000)


def test_the_code_is_what_loading_and_scoring_import():
    root = Path(tmt.__file__).parent
    names = {str(file.relative_to(root)) for file in needed_files()}
    assert {"__init__.py", "checkpoint.py", "packed/container.py", "evaluate/perplexity.py"} <= names
    assert {"ops/toeplitz/fft.py", "model/golf.py", "ops/norm/fused.py"} <= names
    assert any(name.endswith(".c") for name in names)
    assert {"adaptive/scoring.py", "adaptive/matching/automaton.c", "training/state.py"} <= names
    assert {f"generate/{file.name}" for file in (root / "generate").glob("*.py")} <= names
    assert not any(name.startswith(("training/loop", "commands/", "artifact/", "bench/")) for name in names)
    assert code_bytes() == sum(len((root / name).read_bytes()) for name in names)
    assert code_bytes(compressed=True) < 0.4 * code_bytes()
