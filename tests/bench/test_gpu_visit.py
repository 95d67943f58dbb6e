"""The command for a visit to a GPU, tried out without one: every part, and what none can do to others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tmt.bench.gpu import page, replay, visit
from tmt.bench.gpu.card import PEAKS, peak
from tmt.bench.gpu.models import flops
from tmt.bench.gpu.parts import PARTS, Task
from tmt.bench.gpu.visit import Visit
from tmt.bench.gpu.window import WINDOW, anchors_first, block_mask, draw, flex
from tmt.bench.models import build
from tmt.bench.parity import relative_error
from tmt.generate.static_decoder import StaticDecoder

pytest_plugins = ["command_line"]

CPU = torch.device("cpu")
QUICK = Visit("cpu", quick=True)
BACKWARD_ON_CPU = "FlexAttention does not support backward on CPU"


@pytest.mark.learning
def test_the_whole_visit_can_be_tried_out_on_a_cpu(tmp_path: Path, cache: Path):
    command = [sys.executable, "-m", "tmt.bench.gpu", "--device=cpu", "--quick", f"--out={tmp_path / 'out'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(text) for text in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [row["error"] for row in rows if BACKWARD_ON_CPU not in row.get("error", BACKWARD_ON_CPU)] == []
    assert list(dict.fromkeys(row["part"] for row in rows if "error" not in row)) == list(PARTS)
    parity = [row for row in rows if "equal" in row]
    assert len(parity) == 2 * 7 + 2 * 2
    assert all(row["equal"] for row in parity)
    trained = {row["name"]: row for row in rows if row["part"] == "training"}
    assert {"transformer", "tmt"} <= trained.keys()
    assert all(trained[name]["peak_share"] > 0 for name in ("transformer", "tmt"))
    scores = [row["valid_bits_per_byte"] for row in rows if row["part"].startswith("learning")]
    assert len(scores) == 3
    assert all(6 < score < 10 for score in scores)
    text = (tmp_path / "out" / "README.md").read_text()
    assert all(f"## {part}" in text for part in PARTS)
    assert "python -m tmt.bench.gpu --device=cpu --quick" in text


def test_a_part_that_fails_says_so_in_its_last_line():
    rows = list(visit._part(Visit("abacus", quick=True), "card", 60.0))
    assert len(rows) == 1
    assert rows[0]["error"].startswith("RuntimeError: ")


def test_a_part_is_stopped_when_its_time_is_up():
    assert list(visit._part(QUICK, "training", 0.5)) == [{"error": "stopped after 0 s"}]
    assert list(visit._part(QUICK, "training", -1.0)) == [{"error": "not begun: the time was up"}]


def test_a_part_that_crashes_leaves_its_exit_status(monkeypatch: pytest.MonkeyPatch):
    context = visit.multiprocessing.get_context("forkserver")
    process = context.Process

    def exiting(target, args, daemon):
        return process(target=os._exit, args=(7,), daemon=daemon)

    monkeypatch.setattr(type(context), "Process", staticmethod(exiting))
    assert list(visit._part(QUICK, "card", 60.0)) == [{"error": "the process ended with 7"}]


def test_time_is_shared_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(visit.time, "monotonic", lambda: 1000.0)
    fixed = sum(part.seconds for part in PARTS.values() if part.seconds is not None)
    assert fixed < visit.FULL - 60
    assert visit._limit("training", 1480.0, 8.0) == PARTS["training"].seconds
    assert visit._limit("training", 1480.0, 4.0) == PARTS["training"].seconds / 2
    assert visit._limit("training", 1001.0, 8.0) == 1.0
    assert visit._limit("learning: tmt", 1300.0, 8.0) == 100.0
    assert visit._limit("learning: golf", 1300.0, 8.0) == 300.0


def test_a_second_visit_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"part": "card", "card": "NVIDIA H100 80GB (HBM3)"}]
    first = visit._new_folder(rows)
    assert first.name.endswith("_nvidia-h100-80gb-hbm3")
    visit._keep(first, rows)
    assert visit._new_folder(rows).name == f"{first.name}_2"
    assert visit._new_folder([{"part": "card", "error": "no GPU"}]).name.endswith("_unknown")


def test_the_page_shows_figures_and_failures():
    rows = [
        {"part": "one", "name": "a", "equal": True, "apart": 1.23456e-7},
        {"part": "one", "name": "b", "direction": "forward", "error": "RuntimeError: no"},
        {"part": "two", "error": "stopped after 3 s"},
    ]
    text = page.page(rows, "the command")
    assert "| name | equal | apart |" in text
    assert "| a | True | 1.235e-07 |" in text
    assert "- b, forward: RuntimeError: no" in text
    assert "## two\n\n- stopped after 3 s" in text


@pytest.mark.parametrize(("card", "known"), [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12),
                                             ("NVIDIA L40S", 362e12), ("NVIDIA L4", 121e12)])  # fmt: skip
def test_known_cards(card: str, known: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tmt.bench.gpu.card.name", lambda device: card)
    assert peak(CPU) == (known, "the maker's figure")
    assert len(PEAKS) == len(set(PEAKS))


def test_replayed_decoding_is_timed_only_where_its_logits_are_right(monkeypatch: pytest.MonkeyPatch):
    read = StaticDecoder.__call__
    monkeypatch.setattr(StaticDecoder, "__call__", lambda self, tokens: 1.01 * read(self, tokens))
    (row, other) = replay.rows(Task(CPU, True, 1.0).settings((16,)))
    assert "transformer (replayed) is not timed: its logits differs" in row["error"]
    assert "tmt (replayed) is not timed: its logits differs" in other["error"]


@pytest.mark.parametrize("arch", ["transformer", "tmt"])
def test_the_share_of_the_peak_counts_what_runs(arch: str):
    """A prompt's pass runs the counted operations; without gradients nothing is left out or done twice."""
    settings = Task(CPU, True, 1.0).settings((16,))
    model = build(arch, settings)
    with torch.no_grad():
        ran = model(torch.zeros(1, 16, dtype=torch.long), last_only=True, return_diagnostics=False).flops

    assert flops(arch, "forward", 16, settings) == ran
    head = 2 * 15 * model.head.weight.numel()
    assert flops(arch, "train", 16, settings) == ran + head


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("length", [5, 48, 150])
def test_flex_attention_computes_window_and_anchors(length: int):
    parts = draw(2, length, torch.float32, CPU)
    with torch.no_grad():
        second = flex(anchors_first(parts)).transpose(1, 2)
    for opinion in (WINDOW.ours(parts), WINDOW.reference(parts)):
        assert relative_error(opinion, second) < 1e-5
    assert block_mask(length, CPU).shape[-2:] == (length, length + 16)
