"""Everything an evaluation reports, as one flat record."""

import dataclasses
import math
from typing import Any

from tmt.errors import unknown
from tmt.evaluate.causality import check_causality
from tmt.evaluate.depth import count_tokens, depth_by_class, token_classes
from tmt.evaluate.perplexity import score
from tmt.evaluate.text_size import bytes_of, require_raw_bytes, spelt_share, text_bytes
from tmt.evaluate.windows import check_windows
from tmt.model.base import LanguageModel
from tmt.text import PARTS, Part
from tmt.tokens import Tokenizer, TokenSplits


def evaluate_run(
    model: LanguageModel,
    tokenizer: Tokenizer,
    splits: TokenSplits,
    *,
    split: Part = "test",
    context: int,
    stride: int | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    raw_bytes: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Score one split or the whole, table the depth by class of token, and probe for leaks.

    Args: see :func:`tmt.evaluate.score`; `stride` is `context` by default. With `raw_bytes` the bits per
        byte are of the text as it was before the tokenizer rewrote it, not of what the tokens spell.

    Returns:
        A record that JSON can hold, always with the same keys; None stands for what is not finite. Its
        split is `valid` where `test` was asked for and is the same.

    Raises:
        InputError: an argument is out of range, or raw bytes are asked for and not known.
        LeakError: the model sees the future.
    """
    if split not in PARTS:
        raise unknown("split", split, PARTS)
    tokens = getattr(splits, split)
    if split == "test" and tokens is splits.valid:
        split = "valid"
    stride = context if stride is None else stride
    check_windows(tokens, context, stride, model.config)
    if raw_bytes:
        require_raw_bytes(tokens, tokenizer)
    leak = check_causality(model)
    result = score(
        model,
        tokens,
        tokenizer,
        context=context,
        stride=stride,
        batch_size=batch_size,
        limit=limit,
        progress=progress,
    )
    reference = splits.train if len(splits.train) else tokens
    classes = token_classes(tokenizer, count_tokens(reference, tokenizer.vocab_size))
    by_class = depth_by_class(result, classes)
    return {
        "params": model.param_count(),
        "split": split,
        "tokens": result.tokens,
        "split_tokens": len(tokens) - 1,
        "bytes": result.raw_bytes if raw_bytes else result.bytes,
        "split_bytes": text_bytes(tokens, tokenizer, len(tokens) - 1, raw=raw_bytes),
        "bytes_of": bytes_of(tokenizer, raw=raw_bytes),
        "raw_bytes": result.raw_bytes,
        "spelt": spelt_share(splits, split, tokenizer),
        "words": result.words,
        "context": context,
        "stride": stride,
        "nats": finite(result.nats),
        "ppl": finite(result.ppl),
        "bpb": finite(result.raw_bpb if raw_bytes else result.bpb),
        "raw_bpb": finite(result.raw_bpb),
        "word_ppl": finite(result.word_ppl),
        "nats_by_position": {name: finite(nats) for name, nats in result.nats_by_position.items()},
        "mean_depth": result.mean_depth,
        "mean_layers": result.mean_layers,
        "layer_share": result.layer_share,
        "depth_by_class": {name: dataclasses.asdict(depth) for name, depth in by_class.items()},
        "flops_per_token": finite(result.flops_per_token),
        "flops_per_token_dense": finite(result.flops_per_token_dense),
        "causal_max_diff": leak,
    }


def finite(value: float) -> float | None:
    """`value`, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
