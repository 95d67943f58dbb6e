"""Quality of architectures and switches at equal data, steps and recipe: trains a list of runs, one table.

    python benchmarks/quality.py results/2026-11-23_nano-sotu --steps 600

Runs already in the folder's metrics.jsonl are skipped, so an interrupted sweep goes on where it stopped, and
several processes can share a folder. The table is written to the folder's README.md.
"""

import argparse
from pathlib import Path

from runs import add_record, missing, read_records, train_and_score

DEPTH = ["model.n_layers=6", "model.entry_layers=2", "model.target_depth=0.6"]
NO_EXITS = ["model.exit_objective=none"]

RUNS: dict[str, tuple[str, list[str]]] = {
    "transformer": ("transformer", []),
    "transformer, lr 0.04": ("transformer", ["optim.lr=0.04"]),
    "transformer, AdamW": ("transformer", ["optim.optimizer=adamw", "optim.lr=0.003"]),
    "tmt": ("tmt", NO_EXITS),
    "graph: window only": ("tmt", [*NO_EXITS, "model.graph=none"]),
    "graph: dense": ("tmt", [*NO_EXITS, "model.graph=dense"]),
    "graph: random past": ("tmt", [*NO_EXITS, "model.graph=random"]),
    "graph: most recent": ("tmt", [*NO_EXITS, "model.graph=recent"]),
    "graph: kNN alone": ("tmt", [*NO_EXITS, "model.local_window=1", "model.successors=false"]),
    "decay: none": ("tmt", [*NO_EXITS, "model.decay=none"]),
    "decay: distance": ("tmt", [*NO_EXITS, "model.decay=distance"]),
    "streams: shared input": ("tmt", [*NO_EXITS, "model.stream_inputs=shared"]),
    "streams: one SwiGLU": ("tmt", [*NO_EXITS, "model.dual_stream=false"]),
    "memory: none": ("tmt", [*NO_EXITS, "model.memory_anchors=0"]),
    "exits: 6 layers, depth 0.6": ("tmt", DEPTH),
    "exits: same, random": ("tmt", [*DEPTH, "model.exit_gate=random"]),
    "exits: same, by position": ("tmt", [*DEPTH, "model.exit_gate=position"]),
    "exits: same, learned thresholds": ("tmt", [*DEPTH, "model.exit_objective=learned"]),
    "tmt, 3 layers": ("tmt", [*NO_EXITS, "model.n_layers=3"]),
    "tmt, 6 layers": ("tmt", [*NO_EXITS, "model.n_layers=6"]),
    "transformer, 3 layers": ("transformer", ["model.n_layers=3"]),
    "transformer, 6 layers": ("transformer", ["model.n_layers=6"]),
    "toeplitz": ("toeplitz", []),
    "toeplitz, no heads": ("toeplitz", ["model.n_heads=0"]),
    "toeplitz, 16 heads": ("toeplitz", ["model.n_heads=16"]),
    "toeplitz, 192 heads": ("toeplitz", ["model.n_heads=192"]),
    "toeplitz, expanded": ("toeplitz", ["model.expanded=true"]),
    "toeplitz, decay": ("toeplitz", ["model.kernel=decay"]),
    "toeplitz, expsum": ("toeplitz", ["model.kernel=expsum"]),
    "toeplitz, weighted mean": ("toeplitz", ["model.kernel=softplus", "model.mean=true"]),
    "toeplitz, frozen": ("toeplitz", ["model.kernel=ones"]),
    "toeplitz, published start": ("toeplitz", ["model.kernel=raw", "model.init=kaiming"]),
    "triangular": ("triangular", []),
    "hyena": ("hyena", []),
}


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--only", nargs="*", default=list(RUNS), help="names of the runs, default all")
    parser.add_argument("--set", nargs="*", default=[], help="settings for every run")
    parser.add_argument("--again", action="store_true", help="make those anew that have a record")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in missing(options.only, _records(options.folder), options.again):
        arch, overrides = RUNS[name]
        _train(options, name, arch, [*overrides, *options.set])
        _write_table(options.folder)
    _write_table(options.folder)


def _train(options: argparse.Namespace, name: str, arch: str, overrides: list[str]) -> None:
    settings = [f"--set={override}" for override in overrides]
    budget = ["--steps", str(options.steps), "--seed", str(options.seed)]
    record = train_and_score(["--arch", arch, *budget, *settings], options.folder / "log")
    record |= {"name": name, "seed": options.seed, "set": overrides}
    add_record(options.folder / "metrics.jsonl", record)


def _records(folder: Path) -> dict[str, dict]:
    return {record["name"]: record for record in read_records(folder / "metrics.jsonl")}


def _write_table(folder: Path) -> None:
    records = _records(folder)
    rows = [
        f"| {name} | {r['params'] / 1e6:.2f} M | {r['nats']:.4f} | {r['ppl']:.2f} | {r['bpb']:.4f} "
        f"| {r['mean_depth']:.3f} | {r['flops_per_token'] / 1e6:.2f} M |"
        for name in RUNS
        if (r := records.get(name))
    ]
    first = next(iter(records.values()))
    text = [
        "Validation split of the embedded corpus; one seed, so small differences decide nothing.",
        f"Command: `python benchmarks/quality.py {folder} --steps {first['steps']} --seed {first['seed']}`;",
        f"context {first['context']}, stride {first['stride']}, {first['tokens']:,} tokens scored;",
        f"machine: {first['machine']}.\n",
        "| run | parameters | nats/token | PPL | bits/byte | mean depth | FLOPs/token |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    (folder / "README.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
