"""Decoding: the prompts in one pass, then one token a step from the cached state."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tmt.errors import InputError
from tmt.generate.sampling import Sampler, row_generators
from tmt.layers.cache import State
from tmt.model.base import LanguageModel


def generate_tokens(
    model: LanguageModel,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    sampler: Sampler,
    seed: int = 0,
    stop: int | None = None,
) -> Iterator[list[int | None]]:
    """Continue every prompt, all of them together.

    The arguments are checked at once; each step of the iterator then runs the model. It can be left at
    any step.

    Args:
        model: any architecture, in eval mode.
        prompts: token ids, at least one each; they may differ in length.
        max_new_tokens: steps at most.
        sampler: chooses the tokens.
        seed: of the choices; a row's depend on the seed and its index alone.
        stop: the id that ends a row.

    Yields:
        The new id of every row, `stop` itself included; None for rows that have ended.

    Raises:
        InputError: there is no prompt, an empty one, or one that does not fit into max_seq_len together
            with the new tokens.
    """
    _check(prompts, max_new_tokens, model.config.max_seq_len)
    generators = row_generators(seed, len(prompts))
    return _steps(model, prompts, max_new_tokens, sampler, generators, stop)


def _check(prompts: list[list[int]], max_new_tokens: int, max_seq_len: int) -> None:
    if not prompts:
        raise InputError("there is no prompt to continue")
    if not all(prompts):
        raise InputError("a prompt holds no token; begin it with the tokenizer's document start")
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens={max_new_tokens} must be at least 1")
    longest = max(map(len, prompts))
    if longest + max_new_tokens > max_seq_len:
        raise InputError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the model's "
            f"max_seq_len={max_seq_len}; shorten one of them"
        )


def _steps(
    model: LanguageModel,
    prompts: list[list[int]],
    max_new_tokens: int,
    sampler: Sampler,
    generators: list[torch.Generator],
    stop: int | None,
) -> Iterator[list[int | None]]:
    running = [True] * len(prompts)
    tokens = pad_sequence([torch.tensor(prompt) for prompt in prompts], batch_first=True)
    lengths: Tensor | None = torch.tensor([len(prompt) for prompt in prompts])
    state: State | None = None
    for _ in range(max_new_tokens):
        logits, state = _forward(model, tokens, state, lengths)
        chosen = sampler(logits, generators)
        ids = chosen.tolist()
        yield [token if live else None for token, live in zip(ids, running, strict=True)]
        running = [live and token != stop for token, live in zip(ids, running, strict=True)]
        if not any(running):
            return
        tokens, lengths = chosen[:, None], None


@torch.inference_mode()
def _forward(
    model: LanguageModel, tokens: Tensor, state: State | None, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """Logits (B, V) after each row's last token, and the state behind it."""
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
