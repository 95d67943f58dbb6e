"""Texts written up to a stop string."""

from collections.abc import Sequence

from tmt.generate.engine import generate_tokens
from tmt.generate.sampling import Sampler
from tmt.generate.stop_strings import StopStrings
from tmt.model.base import LanguageModel
from tmt.tokens import StreamDecoder, Tokenizer


def generate_until(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    stops: Sequence[str],
    *,
    max_new_tokens: int,
    sampler: Sampler,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
) -> list[str]:
    """What follows each prompt, up to the first of the stop strings, which is left out.

    A text also ends with its document and after `max_new_tokens`. Prompts begin documents; they lose tokens
    at their start to leave room for the new ones. Where the new ones alone exceed the model's limit, it reads
    its last tokens anew for every one beyond.

    Args:
        model: any architecture, in eval mode.
        tokenizer: of the model.
        prompts: texts, continued all together.
        stops: the strings that end a text; an empty one ends none.
        max_new_tokens: tokens to write at most.
        sampler: chooses the tokens.
        seed: of the choices.
        numbers: of the prompts, which their choices depend on beside the seed; default: 0, 1, ….

    Raises:
        InputError: there is no prompt, or `max_new_tokens` is below 1.
    """
    room = model.config.longest - max_new_tokens
    ids = [[tokenizer.eot_id, *encoded] for encoded in tokenizer.encode_batch(list(prompts))]
    kept = [row[-(room if room > 0 else model.config.longest) :] for row in ids]
    texts = [Text(tokenizer, row[-1], stops) for row in kept]
    steps = generate_tokens(
        model,
        kept,
        max_new_tokens=max_new_tokens,
        sampler=sampler,
        seed=seed,
        numbers=numbers,
        stop=tokenizer.eot_id,
        recrop=room < 1,
    )
    for tokens in steps:
        for text, token in zip(texts, tokens, strict=True):
            text.add(token)
        if all(text.ended for text in texts):
            break
    for text in texts:
        text.flush()
    return [text.text for text in texts]


class Text:
    """What is written after one prompt.

    Attributes:
        text: the characters that are certain.
        tokens: how many were taken in.
        ended: whether the document ended, or a stop string came; nothing is taken in any more.
    """

    def __init__(self, tokenizer: Tokenizer, before: int, stops: Sequence[str]) -> None:
        """`before` is the prompt's last token."""
        self.text, self.tokens, self.ended = "", 0, False
        self._eot, self._stops = tokenizer.eot_id, StopStrings(stops)
        self._decoder = StreamDecoder(tokenizer)
        self._decoder.push(before)

    def add(self, token: int | None) -> str:
        """Take in the next token (None: the row has ended); returns the characters that are certain by it."""
        if token is None or self.ended:
            return ""
        self.tokens += 1
        piece = self._extend(self._stops.push(self._decoder.push(token)))
        self.ended = token == self._eot or self._stops.found
        return piece

    def flush(self) -> str:
        """What was held back, and the mark of a character that was left unfinished, if any."""
        return self._extend(self._stops.push(self._decoder.flush()) + self._stops.flush())

    def _extend(self, piece: str) -> str:
        self.text += piece
        return piece
