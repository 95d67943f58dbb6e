"""What architectures learn of the synthetic tasks, three seeds: runs `tmt tasks` over a list, one table.

    python benchmarks/tasks.py results/2026-11-23_toeplitz

Records in the folder's tasks.jsonl are not made again, so an interrupted series goes on where it stopped. The
table is written to the folder's tasks.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from tmt.tasks import TASKS
from tmt.tasks.learn import EVALUATED
from tmt.tasks.results import summarise
from tmt.tasks.scoring import evaluate

SEEDS = "0,1,2"
ALL, MOST = "toeplitz,triangular,hyena,transformer,tmt", "toeplitz,hyena,transformer"
FROZEN = ["--arch=toeplitz", "--set=model.kernel=ones"]
DECAY = ["--arch=toeplitz", "--set=model.kernel=decay"]
MEAN = ["--arch=toeplitz", "--set=model.kernel=softplus", "--set=model.mean=true"]

SMALL = "--set=model.embedding_std=0.02"
"""With embeddings so small, attention models of this size do not find lookups in these budgets."""

RUNS: list[tuple[str, list[str]]] = [
    ("copy", [f"--arch={ALL}", "--steps=400"]),
    ("mqar", [f"--arch={ALL}", "--steps=1000", "--size=pairs=4", "--size=length=16"]),
    ("copy-variable", [f"--arch={MOST}", "--steps=800"]),
    ("induction", [f"--arch={MOST}", "--steps=600"]),
    ("labels", [f"--arch={MOST}", "--steps=600"]),
    ("mqar", ["--arch=transformer", SMALL, "--steps=1000", "--size=pairs=4", "--size=length=16"]),
    ("copy", [*FROZEN, "--steps=400"]),
    ("copy", [*DECAY, "--steps=400"]),
    ("copy", [*MEAN, "--steps=400"]),
    ("markov", [f"--arch={MOST}", "--steps=300"]),
    ("copy-selective", [f"--arch={MOST}", "--steps=600"]),
    ("information", ["--arch=toeplitz,hyena", "--set=model.init=kaiming", "--steps=400", "--seeds=0"]),
    ("information", ["--arch=transformer", "--steps=400", "--seeds=0"]),
]


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="names of tasks, default all")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    records = options.folder / "tasks.jsonl"
    for task, settings in RUNS:
        if not options.only or task in options.only:
            command = ["tasks", task, f"--seeds={SEEDS}", *settings, f"--json={records}"]
            done = subprocess.run([sys.executable, "-m", "tmt", *command])
            if done.returncode:
                sys.exit(f"tmt {' '.join(command)} failed")
        _write_table(options.folder, records)


def _write_table(folder: Path, path: Path) -> None:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [
        "| task | model | parameters | steps | score, mean ± 95 % over seeds | chance | counting |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(record["task"] for record in records):
        for line in summarise([record for record in records if record["task"] == task]):
            first, (mean, half) = line.first, line.interval("score")
            spread = "" if half is None else f" ± {half:.3f}"
            what = f"{task} ({first['encoder']})" if "encoder" in first else task
            lines.append(
                f"| {what} | {first['arch']}{_variant(first)} | {first['params']:,} | {first['steps']} "
                f"| {mean:.3f}{spread} {first['score_name']} | {first['chance']:.3f} | {_floor(first)} |"
            )
    lines += ["", "Counting: what symbols score without their order; a row no higher has learnt none."]
    (folder / "tasks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _floor(record: dict) -> str:
    """What counting scores on the test draw of a record, which may be older than that figure."""
    if record["task"] not in TASKS:
        return ""
    task = TASKS[record["task"]](**record["sizes"])
    generator = torch.Generator().manual_seed(2)
    return f"{evaluate(task, task.counting, generator, EVALUATED).score:.3f}"


def _variant(record: dict) -> str:
    kernel = record["model"].get("kernel", "delta")
    variant = "" if kernel == "delta" else f", {kernel} kernel"
    return variant + (", small embeddings" if record["model"]["embedding_std"] < 0.1 else "")


if __name__ == "__main__":
    main()
