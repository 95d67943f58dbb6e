"""`tmt export`: a run in the form that other tools open."""

import json
from pathlib import Path
from typing import Any

from tmt import __version__
from tmt.checkpoint import Run, load_run, model_state
from tmt.errors import InputError
from tmt.options.export import ExportOptions
from tmt.qwen3 import write_qwen3
from tmt.run_folder import METRICS
from tmt.user_cache import built_whole


def export(options: ExportOptions) -> None:
    """Run the command; the folder is there whole, or not at all."""
    run = load_run(options.run)
    if run.config.arch != "transformer":
        raise InputError(
            f"{options.run} is a {run.config.arch}; only the dense baseline (--arch transformer) has the "
            "shape of a model that transformers brings"
        )
    with built_whole(options.folder) as folder:
        write_qwen3(folder, run.config, model_state(run.model), run.tokenizer, card(run))
    print(f"{options.folder}: AutoModelForCausalLM.from_pretrained opens it, as a Qwen3")


def card(run: Run) -> str:
    """What is known of a run, in Markdown: its sizes, its data, how it was trained, and what was measured."""
    config, train = run.config, run.config.train
    best = _best(run.folder)
    rows = {
        "parameters": f"{run.model.param_count():,}",
        "layers, width, heads": f"{config.model.n_layers}, {config.model.d_model}, {config.model.n_heads}",
        "vocabulary": f"{config.model.vocab_size:,} ({config.data.tokenizer})",
        "longest sequence": f"{config.model.max_seq_len:,}",
        "text": config.data.source,
        "sequences a step, their length": f"{train.batch_size * train.accumulate}, {train.seq_len}",
        "optimiser": config.optim.optimizer,
        "seed": str(train.seed),
    }
    if best is not None:
        rows["steps"] = f"{best['step']:,}"
        rows["validation during training, nats a token"] = f"{best['valid_nats']:.4f}"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    public = config.data.source == "sotu"
    licence = "public domain" if public else "not known here; say it before you share this"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---

# {config.preset} {config.arch}

A dense transformer trained with temporalmesh-transformer {__version__}, in the shape of a Qwen3.

| | |
|---|---|
{table}

Licence of the text: {licence}. What `tmt eval` and `tmt verify` say of this folder is not repeated here.
"""


def _best(folder: Path) -> dict[str, Any] | None:
    """The line of a run's log with the lowest validation loss: that of the weights that are kept."""
    try:
        lines = [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return None
    scored: list[dict[str, Any]] = [line for line in lines if "valid_nats" in line]
    return min(scored, key=lambda line: line["valid_nats"]) if scored else None
