"""What a finished training run says: scores on both held-out splits, a sample, and where everything is."""

import math

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tmt.checkpoint import Run
from tmt.commands.report import PlainConsole, number, share_scored
from tmt.evaluate import check_causality, score
from tmt.evaluate.report import finite
from tmt.generate import Sampler, generate_tokens
from tmt.terminal import shown
from tmt.tokens import TokenSplits

SAMPLE_TOKENS = 80
TRAINED_PER_SCORED = 20
"""Tokens trained on for one that is scored of each split. Scoring costs a token a third of what training
does, so both splits take a thirtieth of its time; with the leak probe and the sample no more than a tenth."""


def print_summary(run: Run, splits: TokenSplits, trained: int) -> None:
    """Score the start of validation and test with the kept weights and print that with a sample continuation.

    `trained` tokens, those that this process trained on, decide how much is scored: a twentieth of them of
    each split, one window at least. The same steps have the same figures, however long they took.
    """
    context = run.config.train.seq_len
    title = f"{run.config.arch} {run.config.preset}, context {context}, stride {context}"
    table = Table(title=title, box=SIMPLE_HEAD)
    for column in ("split", "nats/token", "PPL", "bits/byte", "depth", "FLOPs/token", "no exits"):
        table.add_column(column, justify="left" if column == "split" else "right", no_wrap=True)
    limit = max(context, trained // TRAINED_PER_SCORED)
    check_causality(run.model)
    scored = []
    for split in [name for name in splits.documents if name != "train"]:
        tokens = getattr(splits, split)
        result = score(run.model, tokens, run.tokenizer, context=context, stride=context, limit=limit)
        table.add_row(
            split,
            *(f"{result.nats:.4f}", f"{result.ppl:.2f}", f"{result.bpb:.4f}", f"{result.mean_depth:.3f}"),
            *map(_cost, (result.flops_per_token, result.flops_per_token_dense)),
        )
        scored.append(f"{split}: {share_scored(result.tokens, len(tokens) - 1)}")
        if run.tokenizer.rewrites_text:
            raw = number(finite(result.raw_bpb), ".4f")
            scored.append(f"{split}: bits/byte of the rewritten text; of the raw text {raw}")
    PlainConsole().print(table)
    print("\n".join(scored))
    print(f"sample: {shown(_sample(run, splits))}")
    print(f"run folder: {run.folder}")


def _cost(flops: float) -> str:
    return "not counted" if math.isnan(flops) else f"{flops / 1e6:.2f} M"


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
