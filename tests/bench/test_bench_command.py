"""`tmt bench`: rows as JSON lines and tables, refusals before any work, what an interrupt leaves."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench_rows import row

from tiny_runs import Result
from tmt import bench as registry
from tmt.bench import Row, llama
from tmt.bench.measure import SHARE
from tmt.cli import parse
from tmt.commands import bench as command

pytest_plugins = ["command_line"]

FIELDS = [
    "name", "impl", "peer", "direction", "dtype", "length", "batch", "threads", "median_s", "peer_median_s",
    "ratio", "peak_bytes", "peer_peak_bytes",
]  # fmt: skip
QUICK = ["--seconds=0.001", "--device=cpu"]
SMALL = {
    "ops": ["--lengths=8,16", "--only=mesh"],
    "train": ["--arch=tmt", "--lengths=16", "--batch-size=2", "--dtypes=fp32"],
    "prefill": ["--lengths=16", "--batch-size=2", "--preset=nano"],
    "decode": ["--lengths=16", "--preset=nano"],
    "toeplitz": ["--lengths=16"],
}
DIRECTIONS = {
    "ops": {"forward", "forward_backward"},
    "prefill": {"forward"},
    "toeplitz": {"forward", "decode"},
}


@pytest.fixture(autouse=True)
def own_peers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama, "installed", lambda: False)


@pytest.mark.parametrize("table", registry.TABLES)
def test_every_table_gives_json_lines(table: str, tmt: Callable[..., Result]):
    result = tmt("bench", table, *SMALL[table], *QUICK, "--json")
    assert result.code == 0
    records = [json.loads(line) for line in result.out.splitlines()]
    assert {record["direction"] for record in records} == DIRECTIONS.get(table, {table})
    for record in records:
        assert list(record)[: len(FIELDS)] == FIELDS
        assert record["ratio"] == pytest.approx(record["peer_median_s"] / record["median_s"])
        assert record["threads"] == 1
        assert record["repetitions"] >= 3
        assert record["tokens_per_s"] > 0
        assert min(record["peak_bytes"], record["peer_peak_bytes"]) > 0
        if "mean_depth" in record["facts"]:
            assert record["facts"]["mean_depth"] == pytest.approx(0.5, abs=0.05)
        counted = table == "train" and "at depth" not in record["name"]
        assert ("flops" in record["facts"]) == (SHARE in record["facts"]) == counted
        lengths = {"ops": [8, 16]}.get(table, [16])
        assert record["length"] in lengths
        assert (record["exponent"] is None) == (record["length"] == lengths[0])


def test_the_default_is_a_table_and_a_figure_on_request(tmt: Callable[..., Result], tmp_path: Path):
    pytest.importorskip("matplotlib")
    result = tmt("bench", "ops", *SMALL["ops"], *QUICK, "--dtypes=bf16", f"--plot={tmp_path / 'new'}")
    assert "mesh_attention" in result.out
    assert "time ∝ length^" in result.out
    assert "against sdpa, forward bf16, length 16" in result.err
    assert (tmp_path / "new" / "ops.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "json_to"),
    [
        (["--json"], True),
        (["--json", "--only=x"], True),
        (["--json", "-"], "-"),
        (["--json=a.b"], "a.b"),
        ([], False),
    ],
)
def test_the_json_option_may_have_a_value(arguments: list[str], json_to: bool | str):
    _, options, _ = parse(["bench", "ops", *arguments])
    assert options.json == json_to


def test_a_file_is_appended_to_beside_the_table(
    tmt: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(command, "run", lambda table, settings: iter([row()]))
    for _ in range(2):
        assert "an op (ours)" in tmt("bench", "ops", "--json", tmp_path / "rows.jsonl").out
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2
    assert json.loads(tmt("bench", "ops", "--json", "-").out)["name"] == "an op"


def test_an_interrupt_keeps_the_rows_before_it(
    tmt: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(table, settings) -> Iterator[Row]:
        yield row(name="the first")
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    result = tmt("bench", "ops", f"--json={tmp_path / 'rows.jsonl'}")
    assert result.code == 130
    assert "the first" in result.out
    assert json.loads((tmp_path / "rows.jsonl").read_text())["name"] == "the first"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["opz"], ["unknown table 'opz'", "ops"]),
        (["ops", "--lengths=64,x"], ["lengths='64,x'"]),
        (["ops", "--lengths=0"], ["lengths='0'"]),
        (["ops", "--lengths=-4"], ["lengths='-4'"]),
        (["ops", "--lengths="], ["lengths=''"]),
        (["ops", "--arch=tmt"], ["--arch"]),
        (["train", "--arch=tnt"], ["unknown architecture 'tnt'", "tmt"]),
        (["decode", "--preset=nanno"], ["unknown preset 'nanno'", "nano"]),
        (["ops", "--dtypes=fp16"], ["unknown number format 'fp16'", "bf16"]),
        (["ops", "--seconds=0"], ["seconds=0"]),
        (["train", "--batch-size=0"], ["batch_size=0"]),
        (["ops", "--json=/nowhere/rows.jsonl"], ["/nowhere/rows.jsonl"]),
        (["ops", "--only=nothing"], ["--only"]),
        (["ops", "--device=abacus"], ["abacus"]),
    ],
)
def test_mistakes_are_named_on_one_line(arguments: list[str], parts: list[str], tmt: Callable[..., Result]):
    complaint = tmt("bench", *arguments).complaint
    assert all(part in complaint for part in parts)


def test_a_plot_without_matplotlib_names_the_extra(
    tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tmt.bench.plot.find_spec", lambda name: None)
    assert "temporalmesh-transformer[plot]" in tmt("bench", "ops", "--plot=x").complaint


def test_missing_peers_are_mentioned(tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "run", lambda table, settings: iter([row()]))
    assert "temporalmesh-transformer[bench]" in tmt("bench", "train").err
    assert tmt("bench", "ops").err.count("transformers") == 0
