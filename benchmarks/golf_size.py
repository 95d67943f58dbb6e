"""Does a full-size golf model fit 16,000,000 bytes with its code? Packs one that nobody has trained.

    python benchmarks/golf_size.py results/2026-11-23_golf

Trains 35,944,602 parameters for one step, fills the matrices that start at zero with noise, which compresses
worse than anything learnt, packs the run twice, and opens it. Writes the folder's size.json.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from runs import tmt
from torch import nn

from tmt.checkpoint import load_run, save_weights

TRAIN = ["--arch=golf", "--preset=record", "--recipe=golf", "--tokenizer=sp:8192", "--steps=1"]
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
    (options.folder / "size.json").write_text(json.dumps(record, indent=1) + "\n")
    json.dump(record, sys.stdout, indent=1)


def _measure(folder: Path, code: str) -> dict[str, Any]:
    run, files = folder / "run", [folder / "one.tmt", folder / "two.tmt"]
    tmt(["train", f"--out={run}", *TRAIN, *SMALL])
    _fill(run)
    before, started = _peak(), time.monotonic()
    first, _ = (
        json.loads(tmt(["pack", str(run), f"--out={f}", "--fit", f"--code={code}", "--json"])) for f in files
    )
    packing, peak = (time.monotonic() - started) / 2, _peak()
    started = time.monotonic()
    tmt(["generate", str(files[0]), "--prompt", "The Congress", "--max-new-tokens", "1"])
    return {
        **{key: value for key, value in first.items() if key != "tensors"},
        "identical": files[0].read_bytes() == files[1].read_bytes(),
        "bytes_per_parameter": first["artifact_bytes"] / first["parameters"],
        "seconds_to_pack": packing,
        "gigabytes_to_pack": peak / 1e6 if peak > before else None,
        "seconds_to_first_token": time.monotonic() - started,
        "threads": torch.get_num_threads(),
    }


def _fill(folder: Path) -> None:
    run = load_run(folder)
    torch.manual_seed(0)
    for module in run.model.modules():
        if isinstance(module, nn.Linear) and float(module.weight.detach().std()) < 1e-2:
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    save_weights(run.model, folder)


def _peak() -> int:
    """The most kilobytes that a finished child process held."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


if __name__ == "__main__":
    main()
