"""Golf against baselines of as many parameters, trained for as many minutes: one table.

    python benchmarks/golf.py results/2026-11-23_golf --minutes 15

Trains every run by the clock, packs it, and scores both: wants a machine that does nothing else.
Runs and artifacts stay in the folder --runs, for `tmt score`. Records in the folder's comparison.jsonl are
not made again; the table goes to comparison.md.
"""

import argparse
from pathlib import Path

from runs import add_record, missing, read_records, train_and_score

ADAMW = ["optim.optimizer=adamw", "optim.lr=0.003", "train.priming=2"]
NO_EXITS = ["model.exit_objective=none"]

RUNS: dict[str, tuple[str, str, list[str]]] = {
    "golf": ("golf", "golf", []),
    "transformer, AdamW": ("transformer", "modern", ADAMW),
    "tmt, AdamW": ("tmt", "modern", [*ADAMW, *NO_EXITS]),
    "transformer, golf recipe": ("transformer", "golf", []),
    "tmt, golf recipe": ("tmt", "golf", NO_EXITS),
    "toeplitz, golf recipe": ("toeplitz", "golf", []),
    "golf, AdamW": ("golf", "modern", ADAMW),
    "toeplitz, AdamW": ("toeplitz", "modern", ADAMW),
}
"""Architecture, recipe and settings of every row."""


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--runs", type=Path, default=Path("runs/golf"), help="where runs and artifacts stay")
    parser.add_argument("--only", nargs="*", default=list(RUNS), help="names of the runs, default all")
    parser.add_argument("--again", action="store_true", help="make those anew that have a record")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    options.runs.mkdir(parents=True, exist_ok=True)
    for name in missing(options.only, _records(options.folder), options.again):
        add_record(options.folder / "comparison.jsonl", _run(options, name) | {"name": name})
        _write_table(options)
    _write_table(options)


def _run(options: argparse.Namespace, name: str) -> dict:
    arch, recipe, overrides = RUNS[name]
    arguments = ["--arch", arch, "--preset", options.preset, "--recipe", recipe, "--seed", str(options.seed)]
    arguments += ["--minutes", str(options.minutes), *(f"--set={override}" for override in overrides)]
    keep = options.runs / name.replace(",", "").replace(" ", "-")
    record = train_and_score(arguments, options.folder / "log", keep, pack=True)
    del record["pack"]["tensors"]
    return record


def _records(folder: Path) -> dict[str, dict]:
    return {record["name"]: record for record in read_records(folder / "comparison.jsonl")}


def _write_table(options: argparse.Namespace) -> None:
    records = _records(options.folder)
    rows = []
    for name in RUNS:
        if not (r := records.get(name)):
            continue
        size = r["pack"]["artifact_bytes"]
        rows.append(
            f"| {name} | {r['params'] / 1e6:.2f} M | {r['steps']:,} | {r['nats']:.4f} | {r['bpb']:.4f} "
            f"| {r['packed_bpb']:.4f} | {size:,} | {size / r['pack']['parameters']:.3f} |"
        )
    text = [
        f"Preset {options.preset}, {options.minutes:g} minutes each, one seed, batches of 2,048 tokens.",
        "Validation split, context 256, not sliding. Packed, from the file: matrices of more than 65,536",
        "numbers int6, smaller ones float16 (`--small`; at width 256 the square ones, a quarter of the",
        "transformer), embeddings int8.",
        f"Machine: {next(iter(records.values()))['machine']}.\n",
        "| run | parameters | steps | nats/token | bits/byte | packed bits/byte | bytes | a parameter |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    (options.folder / "comparison.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
