"""Score a token stream, with the compute that it takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from tmt.errors import InputError
from tmt.evaluate.measures import Score
from tmt.evaluate.text_size import text_size
from tmt.evaluate.windows import Tokens, Window, batches, check_windows, read_batch, windows
from tmt.model.base import IGNORE, LanguageModel, ModelOutput
from tmt.tokens import Tokenizer


def score(
    model: LanguageModel,
    tokens: Tokens,
    tokenizer: Tokenizer,
    *,
    context: int,
    stride: int,
    batch_size: int = 8,
    limit: int | None = None,
    progress: bool = True,
) -> Score:
    """Score every token of a stream but its first, each exactly once.

    Args:
        model: any architecture; runs in eval mode and is left in the mode it came in.
        tokens: int64 ids.
        tokenizer: the one that made them; it counts the bytes that a stream does not know.
        context: inputs per forward pass.
        stride: targets scored per forward pass; `context` for windows side by side, less to give each
            target at least `context` − `stride` tokens of past.
        batch_size: forward passes at once.
        limit: score only so many targets, from the start.
        progress: show a bar on stderr where that is a terminal.

    Raises:
        InputError: context, stride, batch_size or limit is out of range, or the stream is too short.
    """
    check_windows(tokens, context, stride, model.config)
    for name, value in (("batch_size", batch_size), ("limit", limit)):
        if value is not None and value < 1:
            raise InputError(f"{name}={value} must be at least 1")
    targets = min(len(tokens) - 1, limit or len(tokens))
    tally = _Tally(model, tokenizer.vocab_size, context)
    bar = tqdm(total=targets, desc="scoring", unit="tok", unit_scale=True, disable=None if progress else True)
    with _evaluating(model), bar:
        for batch in batches(windows(targets, context, stride), batch_size):
            tally.add(batch, *read_batch(tokens, batch))
            bar.update(sum(window.scored for window in batch))
    size = text_size(tokens, tokenizer, targets)
    return Score(
        tokens=targets,
        bytes=size.bytes,
        raw_bytes=size.raw_bytes,
        words=size.words,
        total_nats=tally.nats,
        context=context,
        stride=stride,
        flops=tally.flops,
        flops_dense=tally.flops_dense,
        layer_tokens=tally.layer_tokens,
        seen=tally.seen,
        layers_run=tally.layers_run,
        nats_at=tally.nats_at,
        scored_at=tally.scored_at,
    )


class _Tally:
    """Runs the batches and adds up what a :class:`Score` needs."""

    def __init__(self, model: LanguageModel, vocab_size: int, context: int) -> None:
        self._model = model
        self._dense = cache(model.flops)
        self._device = next(model.parameters()).device
        self.nats_at = np.zeros(context)
        self.scored_at = np.zeros(context, dtype=np.int64)
        self.flops = self.flops_dense = 0.0
        self.layer_tokens = np.zeros(model.config.n_layers, dtype=np.int64)
        self.seen = np.zeros(vocab_size, dtype=np.int64)
        self.layers_run = np.zeros(vocab_size, dtype=np.int64)

    @property
    def nats(self) -> float:
        return float(self.nats_at.sum())

    def add(self, batch: list[Window], inputs: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> None:
        """Run inputs (B, T) and add up."""
        output, nll = self._run(inputs, targets)
        length = inputs.shape[1]
        self.nats_at[:length] += nll.double().sum(0).cpu().numpy()
        self.scored_at[:length] += (targets != IGNORE).sum(0)
        self.flops += output.flops_alone
        self.flops_dense += sum(self._dense(window.length) for window in batch)
        self.flops_dense -= self._model.head_flops(sum(window.length - window.scored for window in batch))
        self._add_depth(output, inputs, targets != IGNORE)

    def _add_depth(
        self, output: ModelOutput, inputs: npt.NDArray[np.int64], scored: npt.NDArray[np.bool_]
    ) -> None:
        """Of the inputs that a scored target follows: others are padding, or seen in another window."""
        ids, n_layers = inputs[scored], len(self.layer_tokens)
        if output.depth is None:
            depth = np.full(len(ids), n_layers)
        else:
            depth = output.depth.cpu().numpy()[scored]
        self.seen += np.bincount(ids, minlength=len(self.seen))
        self.layers_run += np.bincount(ids, weights=depth, minlength=len(self.seen)).astype(np.int64)
        self.layer_tokens += self._model.layers_of(torch.from_numpy(depth)).sum(0).numpy()

    @torch.inference_mode()
    def _run(
        self, inputs: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]
    ) -> tuple[ModelOutput, Tensor]:
        """The output and its losses (B, T)."""
        ids, wanted = (torch.from_numpy(array).to(self._device) for array in (inputs, targets))
        output = self._model(ids, targets=wanted, return_diagnostics=False)
        return output, output.nll


@contextmanager
def _evaluating(model: LanguageModel) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
