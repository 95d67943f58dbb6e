"""Does a full-size golf model fit 16,000,000 bytes with its code? Packs one that nobody has trained.

    python benchmarks/golf_size.py results/2026-11-23_golf

Trains 35,944,602 parameters for one step, fills the matrices that start at zero with noise, which compresses
worse than anything learnt, packs the run so that it fits, packs it again, and opens it. Writes the folder's
size.json.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tmt.checkpoint import load_run, save_weights

TRAIN = ["--arch=golf", "--preset=record", "--recipe=golf", "--tokenizer=sp:8192:nfkc", "--steps=1"]
SMALL = ["--max-bytes=1500000", "--batch-size=2", "--seq-len=256", "--set=train.eval_tokens=256"]


def main() -> None:
    """Train, fill, pack twice, open; write the record and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--code", default="plain", help="how tmt pack counts it: plain or compressed")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        record = _measure(Path(folder), options.code)
    (options.folder / "size.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    json.dump(record, sys.stdout, indent=1)


def _measure(folder: Path, code: str) -> dict[str, Any]:
    run, fitted, again = folder / "run", folder / "fitted.tmt", folder / "again.tmt"
    tmt(["train", f"--out={run}", *TRAIN, *SMALL])
    _fill(run)
    pack = ["pack", str(run), f"--code={code}", "--json"]
    record, fitting = _timed([*pack, f"--out={fitted}", "--fit"])
    record = json.loads(record)
    widths = [f"--{name.replace('_', '-')}={record['settings'][name]!r}" for name in ("clip", "embed_clip")]
    _, packing = _timed([*pack, f"--out={again}", *widths])
    _, opening = _timed(["generate", str(fitted), "--prompt=The Congress", "--max-new-tokens=1"])
    return {
        **{key: value for key, value in record.items() if key != "tensors"},
        "identical": fitted.read_bytes() == again.read_bytes(),
        "bytes_per_parameter": record["artifact_bytes"] / record["parameters"],
        "seconds_to_fit": fitting,
        "seconds_to_pack": packing,
        "gigabytes_at_most": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6,
        "seconds_to_first_token": opening,
        "threads": torch.get_num_threads(),
    }


def tmt(arguments: list[str]) -> str:
    """Standard output of a `tmt` command; ends the program where it fails."""
    done = subprocess.run([sys.executable, "-m", "tmt", *arguments], capture_output=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"tmt {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def _timed(arguments: list[str]) -> tuple[str, float]:
    started = time.monotonic()
    return tmt(arguments), time.monotonic() - started


def _fill(folder: Path) -> None:
    run = load_run(folder)
    torch.manual_seed(0)
    for module in run.model.modules():
        if isinstance(module, nn.Linear) and float(module.weight.detach().std()) < 1e-2:
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    save_weights(run.model, folder)


if __name__ == "__main__":
    main()
