"""Are the mixing layers of language models nearer to invertible than those of models that return their input?

    python benchmarks/operator_index.py results/2026-11-23_toeplitz

The same flat Toeplitz mixer is trained as a language model on bytes, to copy, and as an autoencoder, from
the same starts and seeds; the mean distance of a model's indices from 0 is compared by an exact test that
exchanges whole models within seeds. Finished models are in operator_index.jsonl and are not trained again;
the table is printed.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import torch
from runs import add_record, missing, read_records
from torch import Tensor, nn

from tmt.analysis import operator_records, permutation_test
from tmt.model.base import LanguageModel
from tmt.model.toeplitz import ToeplitzConfig, ToeplitzMixer
from tmt.tasks.copy import Copy
from tmt.tasks.information import Decoder, autoencoder_objective
from tmt.tasks.learn import Plan, fit, language_objective
from tmt.text import open_corpus
from tmt.tokens import make_tokenizer, prepare
from tmt.tokens.loader import TokenLoader

LENGTH = 65
STARTS = {"published": dict(kernel="raw", init="kaiming"), "identity": dict(kernel="delta", init="identity")}
TRAINED = ("language", "copy", "autoencoder")


def main() -> None:
    """Train what is missing, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="make those anew that have a record")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "operator_index.jsonl"
    draw_text = text_batches()
    done = {(r["start"], r["seed"], r["trained"]) for r in read_records(path)}
    for job in missing(product(STARTS, range(options.seeds), TRAINED), done, options.again):
        start, seed, trained = job
        for part, layers in train(trained, start, seed, options.steps, draw_text):
            record = {"start": start, "seed": seed, "trained": trained, "part": part}
            add_record(path, record | {"steps": options.steps, "layers": layers})
    latest = {(r["start"], r["seed"], r["trained"], r["part"]): r for r in read_records(path)}
    report(list(latest.values()))


def text_batches() -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    """Inputs and targets (16, 65) of the embedded corpus as bytes, in the order of a seed."""
    corpus = open_corpus("sotu")
    stream = prepare(corpus, make_tokenizer("bytes", corpus)).train
    return lambda seed: TokenLoader(stream, batch_size=16, seq_len=LENGTH, seed=seed)


def train(
    trained: str,
    start: str,
    seed: int,
    steps: int,
    draw_text: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
) -> Iterator[tuple[str, list[dict]]]:
    """Train one model; yields each of its parts with its layers' records."""
    plan = Plan(steps=steps, batch_size=16, lr=1e-3, seed=seed, device=torch.device("cpu"))
    task = Copy()
    torch.manual_seed(seed)
    model = build(start, task.vocab_size if trained == "copy" else 257)
    before = layers_of(model)
    if trained == "autoencoder":
        decoder, loader = Decoder(build(start, 257)), draw_text(seed)
        decoder_before = layers_of(decoder.trunk.model)
        objective = autoencoder_objective(model, decoder, lambda: next(loader)[0])
        fit(nn.ModuleList([model, decoder]), objective, plan, f"{trained} {start}")
        yield "encoder", changed(before, layers_of(model))
        yield "decoder", changed(decoder_before, layers_of(decoder.trunk.model))
        return
    if trained == "copy":
        source = plan.generator("train")

        def draw() -> tuple[Tensor, Tensor]:
            batch = task.draw(source, plan.batch_size)
            return batch.tokens, batch.targets
    else:
        loader = draw_text(seed)

        def draw() -> tuple[Tensor, Tensor]:
            return next(loader)

    fit(model, language_objective(model, draw), plan, f"{trained} {start}")
    yield "model", changed(before, layers_of(model))


def build(start: str, vocab_size: int) -> ToeplitzMixer:
    """Four layers of width 64 with one kernel each, in training mode."""
    sizes = dict(vocab_size=vocab_size, d_model=64, n_layers=4, ffn_dim=256, n_heads=0, kernel_length=LENGTH)
    return ToeplitzMixer(ToeplitzConfig(**sizes, **STARTS[start])).train()


def layers_of(model: LanguageModel) -> list[dict]:
    """The operator's record of every layer."""
    kernels = {name: kernel.numpy() for name, kernel in model.kernels().items()}
    return [asdict(record) for record in operator_records(kernels)]


def changed(before: list[dict], after: list[dict]) -> list[dict]:
    """The records at the end, with the index at the start."""
    return [new | {"index_at_start": old["index"]} for old, new in zip(before, after, strict=True)]


def report(records: list[dict]) -> None:
    """Print indices by start and training, and how they compare."""
    for start in STARTS:
        groups: dict[str, list[list[dict]]] = {}
        for record in records:
            if record["start"] == start:
                groups.setdefault(f"{record['trained']} {record['part']}", []).append(record["layers"])
        print(f"\n{start} start\n\n| trained as | median index | at the start | share at 0 | p |")
        print("|---|---|---|---|---|")
        distance = {name: np.abs(figures(group, "index")) for name, group in groups.items()}
        for name, group in groups.items():
            index, first = (np.median(figures(group, which)) for which in ("index", "index_at_start"))
            nearer = permutation_test(distance["language model"].mean(1), distance[name].mean(1))
            p = "" if name == "language model" else f"{nearer:.3f}"
            print(f"| {name} | {index:g} | {first:g} | {(distance[name] == 0).mean():.2f} | {p} |")
        print("\np: the chance of a language model as much nearer to 0, if training made no difference.")


def figures(group: list[list[dict]], name: str) -> np.ndarray:
    """(seeds, layers) of one figure."""
    return np.array([[layer[name] for layer in layers] for layers in group])


if __name__ == "__main__":
    main()
