"""Decoding: the prompts in one pass, then one token a step from the cached state."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tmt.errors import InputError
from tmt.generate import captured
from tmt.generate.sampling import Sampler, row_generators
from tmt.generate.static_decoder import StaticDecoder
from tmt.layers.cache import State
from tmt.model.base import LanguageModel
from tmt.model.common_config import ModelConfig

Read = Callable[[Tensor], Tensor]
"""Takes in one more token (B, 1) of every row; the logits (B, V) after it, until the next call."""


def generate_tokens(
    model: LanguageModel,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    sampler: Sampler,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    stop: int | None = None,
    recrop: bool = False,
) -> Iterator[list[int | None]]:
    """Continue every prompt, all of them together.

    The arguments are checked at once; each step of the iterator then runs the model. It can be left at
    any step.

    Args:
        model: any architecture, in eval mode.
        prompts: token ids, at least one each; they may differ in length.
        max_new_tokens: steps at most.
        sampler: chooses the tokens.
        seed: of the choices; a row's depend on the seed and its number alone.
        numbers: of the rows; default: 0, 1, ….
        stop: the id that ends a row.
        recrop: beyond the longest sequence of the model, read the last tokens that fit anew for every step,
            their positions counted from the first of them. What the model computes then is not what it
            computes with its own policy for long sequences, if it has one.

    Yields:
        The new id of every row, `stop` itself included; None for rows that have ended.

    Raises:
        InputError: there is no prompt, an empty one, or one that does not fit into the model's limit together
            with the new tokens.
    """
    _check(prompts, max_new_tokens, model.config, recrop)
    generators = row_generators(seed, range(len(prompts)) if numbers is None else numbers)
    return _steps(model, prompts, max_new_tokens, sampler, generators, stop)


def _check(prompts: list[list[int]], max_new_tokens: int, config: ModelConfig, recrop: bool) -> None:
    if not prompts:
        raise InputError("there is no prompt to continue")
    if not all(prompts):
        raise InputError("a prompt holds no token; begin it with the tokenizer's document start")
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens={max_new_tokens} must be at least 1")
    longest = max(map(len, prompts))
    if longest + max_new_tokens - 1 > config.longest and not recrop:  # the last one is not read any more
        raise InputError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the model's "
            f"{config.limit}; shorten one of them, or let it read its last tokens anew with recrop"
        )


def _steps(
    model: LanguageModel,
    prompts: list[list[int]],
    max_new_tokens: int,
    sampler: Sampler,
    generators: list[torch.Generator],
    stop: int | None,
) -> Iterator[list[int | None]]:
    window = model.config.longest
    rows = {index: list(prompt) for index, prompt in enumerate(prompts)}  # that are read on
    ended: set[int] = set()
    read: Read | None = None
    for step in range(max_new_tokens):
        if read is None or max(map(len, rows.values())) > window:
            rows = {index: row for index, row in rows.items() if index not in ended}
            longest = max(map(len, rows.values()))
            logits, read = _begin(model, [*rows.values()], min(window, longest + max_new_tokens - step))
        else:
            logits = read(torch.tensor([row[-1:] for row in rows.values()]))
        chosen = sampler(logits, [generators[index] for index in rows], [*rows.values()])
        new = dict(zip(rows, chosen.tolist(), strict=True))
        yield [None if index in ended else new[index] for index in range(len(prompts))]
        for index, token in new.items():
            rows[index].append(token)
            if token == stop:
                ended.add(index)
        if len(ended) == len(prompts):
            return


def _begin(model: LanguageModel, rows: list[list[int]], limit: int) -> tuple[Tensor, Read | None]:
    """Read the rows, or their last tokens that fit: the logits (B, V) after them, and what reads on.

    A model without a decoding state has to read everything again: None. The rows will have `limit` tokens at
    most. On CUDA the steps that follow are replayed, where the model has such steps (:class:`StaticDecoder`).
    """
    tokens, lengths = _latest(rows, model.config.longest)
    logits, state = _forward(model, tokens, None, lengths)
    if state is None:
        return logits, None
    if captured.possible(state[0].device) and model.decodes_statically:
        return logits, StaticDecoder(model, state, tokens.shape[1], limit)

    def read(tokens: Tensor) -> Tensor:
        nonlocal state
        logits, state = _forward(model, tokens, state, None)
        return logits

    return logits, read


def _latest(rows: list[list[int]], window: int) -> tuple[Tensor, Tensor | None]:
    """The last `window` tokens of every row (B, T), padded on the right; (B,) lengths where they differ."""
    latest = [torch.tensor(row[-window:]) for row in rows]
    lengths = torch.tensor([len(row) for row in latest])
    ragged = bool((lengths != lengths[0]).any())
    return pad_sequence(latest, batch_first=True), lengths if ragged else None


@torch.inference_mode()
def _forward(
    model: LanguageModel, tokens: Tensor, state: State | None, lengths: Tensor | None
) -> tuple[Tensor, State | None]:
    """Logits (B, V) after each row's last token, and the state behind it, where the model has one."""
    device = next(model.parameters()).device
    lengths = None if lengths is None else lengths.to(device)
    output = model(
        tokens.to(device),
        state,
        lengths=lengths,
        last_only=True,
        return_state=True,
        return_diagnostics=False,
    )
    return output.logits[:, -1], output.state
