"""What each part of the golf architecture and recipe is worth at equal training time: one table.

    python benchmarks/golf_ablations.py results/2026-11-23_golf

Times a step of every variant in turns with one of the base, gives each the steps that the base's time
allows, and trains it with every seed: steps, unlike minutes on a clock, come out the same on a busy machine.
Records in the folder's speed.jsonl and ablations.jsonl are not made again; the table goes to ablations.md.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from runs import add_record, missing, read_records, train_and_score

from tmt.bench.timing import interleaved
from tmt.model import build_model
from tmt.options.train import TrainOptions, resolve
from tmt.tasks.interval import interval
from tmt.training.distributed import Ranks
from tmt.training.loop import Trainer

BASE = "golf"
VARIANTS: dict[str, list[str]] = {
    BASE: [],
    "ReLU² instead of leaky ReLU²": ["model.activation=relu2"],
    "as many heads of keys as of queries": ["model.n_kv_heads=6"],
    "rotation of all channels": ["model.rope_dims=32"],
    "no scale of the norms by depth": ["model.ln_scale=false"],
    "no mix with the embeddings": ["model.residual_mix=false"],
    "no softcap": ["model.softcap=0"],
    "no gated skips": ["model.unet_skips=false"],
    "no self-exclusion": ["model.xsa=false"],
    "query gain 1": ["model.qk_gain=1"],
    "embedding and head apart": ["model.tie_embeddings=false"],
    "no loops": ["model.loop_passes=1"],
    "loops from the start": ["model.loops_from=0"],
    "a vector a pass": ["model.pass_embedding=true"],
    "one residual lane": ["model.parallel=none"],
    "parallel, one lane": ["model.parallel=simple"],
    "AdamW 1e-3 for the matrices": ["optim.optimizer=adamw", "optim.lr=0.001"],
    "AdamW 3e-3 for the matrices": ["optim.optimizer=adamw", "optim.lr=0.003"],
    "Muon without equal rows": ["optim.equal_rows=false"],
    "Polar Express": ["optim.orthogonaliser=polar-express"],
    "momentum 0.95 throughout": ["optim.momentum=0.95", "optim.momentum_start=null"],
    "cosine": ["optim.schedule=cosine"],
    "clipping at 1": ["optim.grad_clip=1"],
    "no average of the weights": ["optim.ema_decay=0"],
}
SECONDS = 8.0
"""For which the steps of two variants are timed in turns, without loops and with them."""
TIMED_STEPS = 10**6
LARGE = 0.01
"""Share of the base's bits per byte that decides with a single seed."""
TEXT = "--max-bytes=6000000"
"""Half the corpus: more than a training of some hundred steps reads, and less to score."""


def main() -> None:
    """Time and train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--steps", type=int, default=300, help="of the base; its time is every variant's budget"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[42, 43, 44])
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="names of variants, default all")
    parser.add_argument("--again", action="store_true", help="make those anew that have a record")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in missing(options.only, _speeds(options.folder), options.again):
        add_record(options.folder / "speed.jsonl", {"name": name, "speed": _speed(name)})
    wanted = [(name, seed) for seed in options.seeds for name in options.only]
    for name, seed in missing(wanted, _records(options.folder), options.again):
        _train(options, name, seed)
        _write_table(options)
    _write_table(options)


def _train(options: argparse.Namespace, name: str, seed: int) -> None:
    steps = round(options.steps * _speeds(options.folder)[name])
    settings = [*_arguments(name), "--steps", str(steps), "--seed", str(seed)]
    record = train_and_score(settings, options.folder / "log")
    add_record(options.folder / "ablations.jsonl", record | {"name": name, "seed": seed})


def _arguments(name: str) -> list[str]:
    settings = [f"--set={setting}" for setting in VARIANTS[name]]
    return ["--arch", "golf", "--preset", "nano", "--recipe", "golf", TEXT, *settings]


def _speed(name: str) -> float:
    """Steps of the variant in the time that the base takes for one, over a whole training."""
    if name == BASE:
        return 1.0
    spent = {BASE: 0.0, name: 0.0}
    for share in (0.0, 0.999):
        trainers = {each: _trainer(each, share) for each in spent}
        for trainer in trainers.values():
            trainer.take_step()
        times = interleaved(*(t.take_step for t in trainers.values()), SECONDS, torch.device("cpu"))
        for each, time in zip(spent, times, strict=True):
            first = trainers[each].config.model.loops_from
            spent[each] += time.median * (1 - first if share else first)
    return spent[BASE] / spent[name]


def _trainer(name: str, share: float) -> Trainer:
    """A trainer on random tokens as far as `share` into its training."""
    options = TrainOptions(arch="golf", recipe="golf", steps=TIMED_STEPS, set=VARIANTS[name])
    config = resolve(options, vocab_size=4096)
    stream: Any = np.random.default_rng(0).integers(config.model.vocab_size, size=2**15)
    model = build_model(config.arch, config.model)
    trainer = Trainer(config, model, stream, Path(), Ranks(torch.device("cpu")), validate=lambda model: 0.0)
    trainer.step = round(share * TIMED_STEPS)
    return trainer


def _speeds(folder: Path) -> dict[str, float]:
    return {record["name"]: record["speed"] for record in read_records(folder / "speed.jsonl")}


def _records(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    return {(record["name"], record["seed"]): record for record in read_records(folder / "ablations.jsonl")}


def _write_table(options: argparse.Namespace) -> None:
    """Every variant's distance from the base at the same seeds, and whether that decides anything."""
    records, speeds = _records(options.folder), _speeds(options.folder)
    rows = []
    for name in VARIANTS:
        seeds = [seed for seed in options.seeds if (name, seed) in records and (BASE, seed) in records]
        if not seeds:
            continue
        own = [records[name, seed] for seed in seeds]
        bpb = sum(record["bpb"] for record in own) / len(own)
        cells = [name, f"{own[0]['params'] / 1e6:.2f} M", f"{speeds[name]:.2f}", f"{own[0]['steps']}"]
        cells += [f"{bpb:.4f}", *_effect(records, name, seeds), str(len(seeds))]
        rows.append("| " + " | ".join(cells) + " |")
    machine = records[BASE, options.seeds[0]]["machine"]
    text = [
        f"Golf, nano; every row has the time of {options.steps} steps of 2,048 tokens of the base.",
        "Validation split, context 256. Difference: bits per byte against the base, mean of the seeds",
        f"(paired) ± 95 %; below zero is better than the base. Machine: {machine}.\n",
        "| variant | parameters | speed | steps | bits/byte | difference | verdict | seeds |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    (options.folder / "ablations.md").write_text("\n".join(text) + "\n", encoding="utf-8")


def _effect(records: dict[tuple[str, int], dict[str, Any]], name: str, seeds: list[int]) -> tuple[str, str]:
    """The difference in bits per byte from the base, and what it says."""
    if name == BASE:
        return "", ""
    differences = [records[name, seed]["bpb"] - records[BASE, seed]["bpb"] for seed in seeds]
    mean, width = interval(differences)
    least = LARGE * records[BASE, seeds[0]]["bpb"] if width is None else width
    verdict = "undecided" if abs(mean) < least else "worse" if mean > 0 else "better"
    return f"{mean:+.4f}" + ("" if width is None else f" ± {width:.4f}"), verdict


if __name__ == "__main__":
    main()
