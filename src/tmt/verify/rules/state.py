"""Reading in pieces is reading the whole."""

import copy
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tmt.verify.differences import Difference, farthest
from tmt.verify.probe import Probe
from tmt.verify.rules.rule import Rule
from tmt.verify.subject import NotOfferedError
from tmt.verify.tensors import tensors_in

PIECES = (3, 1, 7, 2, 13, 1, 1, 5)
UNEVEN = (2, 5, 1)
"""Tokens of a piece that every row has another number of."""
FIRST, AROUND = 64, 3
"""Tokens that are read one by one at the beginning of a text, and on either side of an edge."""
AFTER = 6
"""Tokens that are read after a state was handled."""


def _cached(probe: Probe) -> Iterator[Difference]:
    tokens = probe.tokens(2)
    whole = probe.subject.logits(tokens)
    plans = {"token by token": _single(probe.length, probe.subject.edges), "in pieces": _pieces(probe.length)}
    for what, sizes in plans.items():
        state, done = None, 0
        for size in sizes:
            logits, state = probe.subject.read(tokens[:, done : done + size], state)
            words = f"read {what}, the logits of row {{}} at position {{}} are others than in one pass"
            expected = whole[:, done : done + size]
            yield from farthest(logits, expected, lambda b, at, words=words: words.format(b, at), done)
            done += size


def _single(length: int, edges: Iterable[int]) -> list[int]:
    """Single tokens at the beginning, at the end and around edges; in a long text one piece between them."""
    places = {*range(FIRST), *range(length - AROUND, length)}
    places |= {at for edge in edges for at in range(edge - AROUND, edge + AROUND)}
    starts = sorted(start for place in places for start in (place, place + 1) if 0 <= start < length)
    starts = list(dict.fromkeys(starts))
    return [end - start for start, end in pairwise([*starts, length])]


def _pieces(length: int) -> list[int]:
    """Larger ones in a longer text."""
    sizes, scale = [], 1 + length // FIRST // 2
    while (left := length - sum(sizes)) > 0:
        sizes.append(min(left, scale * PIECES[len(sizes) % len(PIECES)]))
    return sizes


def _ragged(probe: Probe) -> Iterator[Difference]:
    """Prompts of other lengths, a piece of other lengths where that is offered, then token by token."""
    after = min(AFTER, probe.length // 2)
    longest = probe.length - after
    tokens, done = probe.tokens(3), [0, 0, 0]
    prompts = [longest, 1, (longest + 1) // 2]
    alone = [probe.subject.logits(tokens[b : b + 1, : n + after]) for b, n in enumerate(prompts)]
    words = "in a batch of rows of other lengths, the logits of row {} at its position {} are others"
    state = None
    for sizes in (prompts, UNEVEN, *[(1, 1, 1)] * after):
        if any(n + size > row.shape[1] for n, size, row in zip(done, sizes, alone, strict=True)):
            continue
        piece = probe.tokens(3, max(sizes), salt=20)
        for b, (n, size) in enumerate(zip(done, sizes, strict=True)):
            piece[b, :size] = tokens[b, n : n + size]
        lengths = None if len(set(sizes)) == 1 else torch.tensor(sizes, device=probe.subject.device)
        try:
            logits, state = probe.subject.read(piece, state, lengths)
        except NotOfferedError:
            if state is None:
                raise
            continue
        for b, (n, size) in enumerate(zip(done, sizes, strict=True)):
            told = lambda _, at, b=b: words.format(b, at)
            yield from farthest(logits[b : b + 1, :size], alone[b][:, n : n + size], told, n)
        done = [n + size for n, size in zip(done, sizes, strict=True)]


def _reordered(probe: Probe) -> Iterator[Difference]:
    order = torch.tensor([2, 0, 0], device=probe.subject.device)
    tokens, half = probe.tokens(3), probe.length // 2
    _, state = probe.subject.read(tokens[:, :half])
    state = probe.subject.reordered(state, order)
    continued = torch.cat([tokens[order, :half], probe.tokens(3, min(AFTER, half), salt=3)], 1)
    words = "after its rows change places, the logits of row {} at position {} are others"
    yield from _continuation(probe, state, continued, half, words)


def _stored(probe: Probe) -> Iterator[Difference]:
    tokens, half = probe.tokens(2), probe.length // 2
    _, state = probe.subject.read(tokens[:, :half])
    words = "after its state was written and read, the logits of row {} at position {} are others"
    yield from _continuation(probe, _through_a_file(state), tokens[:, : half + AFTER], half, words)


def _through_a_file(state: Any) -> Any:
    """A copy whose tensors have been on the disk."""
    kept = dict(tensors_in(state))
    other = copy.deepcopy(state)
    with TemporaryDirectory(prefix="tmt-") as folder:
        path = Path(folder) / "state.safetensors"
        save_file(
            {
                name: tensor.detach().clone(memory_format=torch.contiguous_format)
                for name, tensor in kept.items()
            },
            path,
        )
        read = load_file(path)
    for name, tensor in tensors_in(other):
        tensor.data = read[name]
    return other


def _twice(probe: Probe) -> Iterator[Difference]:
    tokens, half = probe.tokens(1), probe.length // 2
    _, state = probe.subject.read(tokens[:, : half - 1])
    _, state = probe.subject.read(tokens[:, half - 1 : half], state)  # buffers have room now
    branches = [
        torch.cat([tokens[:, :half], probe.tokens(1, min(AFTER, half), salt=salt)], 1) for salt in (5, 6)
    ]
    whole = [probe.subject.logits(branch) for branch in branches]
    states = [probe.subject.fork(state), state]
    for at in range(half, branches[0].shape[1]):
        for which, branch in enumerate(branches):
            logits, states[which] = probe.subject.read(branch[:, at : at + 1], states[which])
            words = f"of two continuations of one state number {which + 1} is disturbed at position {at}"
            yield from farthest(logits, whole[which][:, at : at + 1], lambda _b, _at, words=words: words)


def _continuation(probe: Probe, state: Any, tokens: Tensor, start: int, words: str) -> Iterator[Difference]:
    """Go on from a state token by token; compare with one pass."""
    whole = probe.subject.logits(tokens)
    for at in range(start, tokens.shape[1]):
        logits, state = probe.subject.read(tokens[:, at : at + 1], state)
        yield from farthest(logits, whole[:, at : at + 1], lambda b, at: words.format(b, at), at)


CACHED = Rule("cached", "reading with a state is reading the whole", "token by token and in pieces", _cached)
RAGGED = Rule("ragged", "prompts of different lengths decode as alone", "three lengths, then pieces", _ragged)
REORDERED = Rule(
    "reordered", "a state's rows may change places, as in beam search", "rows 2, 0, 0 of three", _reordered
)
STORED = Rule("stored", "a state survives a file", "written, read, and gone on from", _stored)
TWICE = Rule("twice", "a state may be gone on from twice", "two continuations of one state, in turns", _twice)
