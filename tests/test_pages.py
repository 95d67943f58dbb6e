"""The pages say what is so: their commands parse, and their figures are those of the committed records."""

import json
import re
import shlex
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
import torch

from tmt.artifact.code_size import code_bytes
from tmt.cli import parse
from tmt.model import build_model
from tmt.model.config import TMTConfig
from tmt.tasks import TASKS as SYNTHETIC
from tmt.tasks.scoring import evaluate

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "results").rglob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")


def commands(page: Path) -> list[str]:
    """Lines of code blocks that call a program of ours, and scripts named in the text with their options."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(python [^`…]+)`", text)
    return [line for line in lines if re.match(r"tmt [a-z]+ |python (benchmarks|scripts)/", line)]


CALLS = [(page, line) for page in PAGES for line in commands(page)]


def test_there_are_commands():
    assert len(CALLS) > 30
    assert {page.name for page, _ in CALLS} >= {"scoring.md", "shards.md", "toeplitz-mixer.md", "README.md"}


@pytest.mark.parametrize(
    ("page", "line"), CALLS, ids=lambda part: part.parent.name if isinstance(part, Path) else part[-60:]
)
def test_every_printed_command_is_one(page: Path, line: str):
    """Options exist and take the values given; scripts are there and know the options."""
    program, *words = shlex.split(re.sub(r"[\[\]…]", "", line), comments=True)
    if program == "python":
        script = (ROOT / words[0]).read_text(encoding="utf-8")
        options = [word.split("=")[0] for word in words if word.startswith("--")]
        missing = [option for option in options if f'"{option}"' not in script]
        assert words[0].startswith("scripts/") or missing == []
    else:
        name, _, given = parse(words)
        assert name == words[0]
        assert len(given) > 0


@pytest.mark.parametrize("page", ["README.md", "docs/claims.md"])
def test_intervals_are_those_of_the_tables_they_are_from(page: str):
    """Differences in bits a byte with three digits, of tables that have four."""
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    told = set(re.findall(r"(?:by|worth|cost) (0\.\d{3} ± 0\.\d{3})", text))
    tables = (
        "2026-11-27_lengths/table.md",
        "2026-11-27_factorial/table.md",
        "2026-11-27_graph/table.md",
        "2026-11-23_golf/ablations.md",
    )
    records = "".join((ROOT / "results" / name).read_text(encoding="utf-8") for name in tables)
    intervals = re.findall(r"[+-](\d\.\d{4}) ± (\d\.\d{4})", records)
    assert len(told) > 2
    assert told <= {f"{float(size):.3f} ± {float(half):.3f}" for size, half in intervals}


def table(text: str, first: str) -> list[list[str]]:
    """Cells of the rows of the table whose header starts with `first`."""
    (found,) = re.findall(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]


def records(folder: str) -> list[dict[str, Any]]:
    """Of all files of one kind of study."""
    files = sorted((ROOT / "results").glob(folder))
    assert files, folder
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


QUALITY = records("*_nano-sotu/metrics.jsonl")


@pytest.mark.parametrize("row", table(README, "run"), ids=lambda row: row[0])
def test_the_table_of_quality_is_that_of_the_records(row: list[str]):
    name, *figures = row
    printed = [
        [
            f"{record['params'] / 1e6:.2f} M",
            f"{record['nats']:.4f}",
            f"{record['ppl']:.2f}",
            f"{record['bpb']:.4f}",
            f"{record['mean_depth']:.3f}",
            f"{record['flops_per_token'] / 1e6:.2f} M",
        ]
        for record in QUALITY
        if record["name"] == name
    ]
    assert figures in printed


CLOCK = records("*_golf/comparison.jsonl")


@pytest.mark.parametrize("row", table(README, "15 minutes"), ids=lambda row: row[0])
def test_the_table_by_the_clock_is_that_of_the_records(row: list[str]):
    name, *figures = row
    printed = [
        [
            f"{record['params'] / 1e6:.2f} M",
            f"{record['steps']:,}",
            f"{record['nats']:.4f}",
            f"{record['bpb']:.4f}",
            f"{record['packed_bpb']:.4f}",
        ]
        for record in CLOCK
        if record["name"] == name
    ]
    assert figures in printed


def test_the_spread_that_decides_is_that_of_the_baselines_seeds():
    seeds = QUALITY + records("*_toeplitz/seed-*/metrics.jsonl")
    nats = [record["nats"] for record in seeds if record["name"] == "transformer"]
    assert len(nats) == 3
    assert f"standard deviation of {stdev(nats):.3f} nats" in README


SCORING = ROOT / "results" / "2026-11-23_scoring"


SCORED = zip(
    table((SCORING / "README.md").read_text(encoding="utf-8"), "model"),
    records("*_scoring/metrics.jsonl"),
    strict=True,
)


@pytest.mark.parametrize(
    ("row", "record"), list(SCORED), ids=lambda part: part[0] if isinstance(part, list) else ""
)
def test_the_table_of_scoring_is_that_of_the_records(row: list[str], record: dict[str, Any]):
    passes = {name: f"{score['ppl']:.2f}" for name, score in record["passes"].items()}
    change = record["passes"]["adapted"]["ppl"] / record["passes"]["static"]["ppl"] - 1
    parts = ["sliding + training", "sliding + cache", "sliding + tap_in", "sliding + memory"]
    named = [passes.get(name, "") for name in ["static", "sliding", *parts, "adapted"]]
    assert row[1:] == [*named, f"−{-100 * change:.1f} %"]
    assert record["audit"] is None


TASKS = {(r["task"], r["arch"], r["seed"], r["model"]["embedding_std"]): r for r in records("*/tasks.jsonl")}


def test_the_table_of_tasks_says_what_counting_scores():
    """The draws of old records are those of today, so that today's count has the same floor."""
    page = (ROOT / "results" / "2026-11-23_toeplitz" / "tasks.md").read_text(encoding="utf-8")
    floors = {row[0]: row[6] for row in table(page, "task")}
    assert set(floors) == {task for task, *_ in TASKS}
    for name, floor in floors.items():
        sizes = next(record["sizes"] for (task, *_), record in TASKS.items() if task == name)
        task = SYNTHETIC[name](**sizes)
        generator = torch.Generator().manual_seed(2)
        assert floor == f"{evaluate(task, task.counting, generator, 1024).score:.3f}"


def test_what_mqar_says_is_said_of_both():
    scores = [f"{TASKS['mqar', 'tmt', seed, 0.2]['score']:.2f}" for seed in range(3)]
    assert f"MQAR {', '.join(scores)}" in README


def test_the_artifact_of_full_size_leaves_room_for_its_code():
    (record,) = [json.loads(path.read_text()) for path in (ROOT / "results").glob("*_golf/size.json")]
    page = (ROOT / "results" / "2026-11-23_golf" / "README.md").read_text(encoding="utf-8")
    for name in ("parameters", "artifact_bytes", "code_bytes", "bytes", "limit"):
        assert f"{record[name]:,}" in page
    assert record["artifact_bytes"] + record["code_bytes"] == record["bytes"] <= record["limit"]
    assert record["artifact_bytes"] + code_bytes(compressed=True) <= record["limit"]


def test_the_published_configuration_has_the_size_that_is_said():
    with torch.device("meta"):
        millions = f"{build_model('tmt', TMTConfig.paper()).param_count() / 1e6:.1f} M parameters"
    assert f"TMT-Base configuration has {millions}" in README
    assert f"they make {millions}" in str(TMTConfig.paper.__doc__)


SPEED = [record for record in records("*/*speed*.jsonl") + records("*/*growth*.jsonl") if "ratio" in record]
MEASURED: dict[tuple[str, str], dict[str, Any]] = {
    ("mesh attention with its graph, forward", "SDPA"): dict(name="mesh_attention", direction="forward"),
    ("same, forward and backward", "SDPA"): dict(name="mesh_attention", direction="forward_backward"),
    ("same", "SDPA"): dict(name="mesh_attention", direction="forward"),
    ("prefill, `base`, exits off", "dense baseline"): dict(name="tmt", direction="forward"),
    ("blocks at depth 0.5, `base`", "exits off"): dict(name="tmt at depth 0.5, blocks", direction="forward"),
    ("whole model at depth 0.5, `base`", "exits off"): dict(
        name="tmt at depth 0.5, whole", direction="forward"
    ),
    ("decoding, `medium`, exits off", "dense baseline"): dict(name="tmt", direction="decode"),
    ("training step, `nano`, exits off", "dense baseline"): dict(name="tmt", direction="train"),
    ("training step, `nano`, depth 0.5", "dense baseline"): dict(name="tmt at depth 0.5", direction="train"),
    ("Toeplitz product by FFT, forward and backward", "matrix product"): dict(
        name="toeplitz", peer="matrix", direction="forward_backward"
    ),
    ("decoding a mixer from a state, batch 32 (batch 1)", "from its inputs"): dict(
        name="step, state", peer="direct", direction="decode"
    ),
}
"""What the records call the rows of the table of speed."""


def ratios(what: str, peer: str, length: str, dtype: str) -> list[float]:
    """Measured ratios of a row, of every machine and number of threads."""
    wanted = MEASURED[what, peer] | dict(length=int(length.replace(",", "")), dtype=dtype)
    preset = re.search(r"`(\w+)`", what)
    return [
        record["ratio"]
        for record in SPEED
        if wanted.items() <= record.items() and (preset is None or record["facts"].get("preset") == preset[1])
    ]


@pytest.mark.parametrize("row", table(README, "what \\| ours against"), ids=lambda row: ", ".join(row[:3]))
def test_the_table_of_speed_is_that_of_the_records(row: list[str]):
    what, peer, length, *cells = row
    figures = [
        (figure, dtype)
        for cell, dtype in zip(cells, ("fp32", "bf16", "fp32"), strict=True)
        for figure in re.findall(r"([\d.]+)×", cell)
    ]
    assert figures
    for figure, dtype in figures:
        digits = len(figure.partition(".")[2])
        assert figure in {f"{ratio:.{digits}f}" for ratio in ratios(what, peer, length, dtype)}, (row, dtype)
