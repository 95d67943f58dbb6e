"""What adapting at test time is worth: every part of `tmt score` alone and left out, for several models.

    python benchmarks/golf.py results/2026-11-23_golf
    python benchmarks/scoring.py results/2026-11-23_scoring runs/golf/golf runs/golf/golf.tmt \\
        runs/golf/transformer-AdamW runs/golf/tmt-AdamW

All runs get the same parts, a TMT its memory bank besides. Passes in the folder --out are not made again and
interrupted ones go on; records go to the folder's metrics.jsonl, the table to scoring.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from runs import add_record, missing, read_records, tmt

PARTS = ["--ttt=all", "--hash-embedding=16384", "--tap-in=document", "--cache=16384"]


def main() -> None:
    """Score what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--stride", type=int, default=64)
    parser.add_argument("--chunk", type=int, default=2048)
    parser.add_argument("--limit", type=int, help="score only so many tokens")
    parser.add_argument("--out", type=Path, default=Path("runs/scoring"))
    parser.add_argument("--set", action="append", default=[], help="another option of tmt score, NAME=VALUE")
    parser.add_argument("--again", action="store_true", help="make those anew that have a record")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = {run.name: run for run in options.runs}
    for name in missing(runs, _records(options.folder), options.again):
        add_record(options.folder / "metrics.jsonl", _score(options, runs[name]) | {"name": name})
        _write_table(options.folder)
    _write_table(options.folder)


def _score(options: argparse.Namespace, run: Path) -> dict[str, Any]:
    arguments = [
        "score",
        str(run),
        *PARTS,
        f"--stride={options.stride}",
        f"--chunk={options.chunk}",
        "--gains",
    ]
    arguments += [f"--out={options.out / run.name}", *(f"--{setting}" for setting in options.set)]
    if options.limit is not None:
        arguments.append(f"--limit={options.limit}")
    if run.name.startswith("tmt"):
        arguments.append("--memory")
    return json.loads(tmt([*arguments, "--json"], options.folder / "log"))


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    return {record["name"]: record for record in read_records(folder / "metrics.jsonl")}


def _write_table(folder: Path) -> None:
    lines = [
        "| run | pass | nats/token | PPL | against static | bits/byte | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, record in _records(folder).items():
        static = record["passes"]["static"]["ppl"]
        for label, scores in record["passes"].items():
            lines.append(
                f"| {name} | {label} | {scores['nats']:.4f} | {scores['ppl']:.2f} "
                f"| {scores['ppl'] / static - 1:+.1%} | {scores['bpb']:.4f} | {scores['elapsed']:.0f} |"
            )
    (folder / "scoring.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
