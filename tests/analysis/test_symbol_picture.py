from pathlib import Path

import numpy as np
import pytest

from tmt.analysis import operator_records
from tmt.analysis.picture import check_picture, draw_symbols
from tmt.errors import InputError

matplotlib = pytest.importorskip("matplotlib")

KERNELS = {
    "0": np.array([[[1.0, -0.5]], [[1.0, -2.0]]]),
    "1.inner": np.ones((1, 1, 2)),
    "1.outer": np.eye(2)[None],
}


def test_a_panel_a_layer_and_a_curve_a_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    path = tmp_path / "symbols.svg"
    draw_symbols(KERNELS, list(operator_records(KERNELS)), path)
    drawn = path.read_text()
    for text in ("layer 0", "layer 1.inner", "layer 1.outer", "head 0: index 0", "head 1: index -1"):
        assert f">{text}<" in drawn
    assert drawn.count(">head 0: no index<") == 2


def test_the_suffix_chooses_the_format(tmp_path: Path):
    path = tmp_path / "symbols.png"
    draw_symbols(KERNELS, list(operator_records(KERNELS)), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_places_that_cannot_be_drawn_to(tmp_path: Path):
    check_picture(tmp_path / "symbols.svg")
    with pytest.raises(InputError, match=r"must end in \.svg or \.png"):
        check_picture(tmp_path / "symbols.txt")
    with pytest.raises(InputError, match="there is no folder"):
        check_picture(tmp_path / "missing" / "symbols.svg")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        draw_symbols(KERNELS, list(operator_records(KERNELS)), tmp_path / "folder.png")
