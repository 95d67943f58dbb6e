"""What a finished training run says: scores on both held-out splits, a sample, and where everything is."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tmt.checkpoint import Run
from tmt.evaluate import evaluate_run
from tmt.generate import Sampler, generate_tokens
from tmt.tokens import TokenSplits

SAMPLE_TOKENS = 80
FIGURES = {"nats": 4, "ppl": 2, "bpb": 4, "mean_depth": 3}


def print_summary(run: Run, splits: TokenSplits) -> None:
    """Score validation and test with the kept weights and print them with a sample continuation."""
    context = run.config.train.seq_len
    title = f"{run.config.arch} {run.config.preset}, context {context}, stride {context}"
    table = Table(title=title, box=SIMPLE_HEAD)
    for column in ("split", "nats/token", "PPL", "bits/byte", "depth", "FLOPs/token", "no exits"):
        table.add_column(column, justify="left" if column == "split" else "right", no_wrap=True)
    for split in [name for name in splits.documents if name != "train"]:
        result = evaluate_run(run.model, run.tokenizer, splits, split=split, context=context)
        table.add_row(
            split,
            *(f"{result[name]:.{digits}f}" for name, digits in FIGURES.items()),
            f"{result['flops_per_token'] / 1e6:.2f} M",
            f"{result['flops_per_token_dense'] / 1e6:.2f} M",
        )
    Console().print(table)
    print(f"sample: {_sample(run, splits)}")
    print(f"run folder: {run.folder}")


def _sample(run: Run, splits: TokenSplits) -> str:
    """The first words of a test document and what the model makes of them."""
    room = run.model.config.longest
    prompt = splits.test[0 : min(17, room - 1)].tolist()
    new = min(SAMPLE_TOKENS, room - len(prompt))
    steps = generate_tokens(
        run.model, [prompt], max_new_tokens=new, sampler=Sampler(temperature=0.8, top_p=0.95)
    )
    written = [token for (token,) in steps if token is not None]
    return f"{run.tokenizer.decode(prompt)} […] {run.tokenizer.decode(written)}"
