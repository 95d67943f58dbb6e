"""Learn SentencePiece BPE: the form that keeps all text, and that of the parameter-golf record."""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tmt.errors import InputError, reason
from tmt.tokens.sentence_piece import SPACE, SentencePieceTokenizer, import_sentencepiece
from tmt.tokens.wanted import Wanted

SENTENCE = 1024
"""Most characters of a sentence; the trainer passes over one of more than 4,192 bytes."""

_LOSSLESS = {
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
}
_NFKC = {"normalization_rule_name": "nmt_nfkc"}


def train_sentence_piece(texts: Iterable[str], wanted: Wanted) -> SentencePieceTokenizer:
    """Learn BPE: pad 0, BOS 1, EOS 2, unknown 3, 256 byte pieces, then merges and characters.

    Args:
        texts: what is learnt from.
        wanted: `sp` keeps every character, and learns white space and ends of lines too; `sp nfkc` has the
            normaliser nmt_nfkc and makes one space of all white space, as the record does. There are fewer
            ids than its size where the texts do not yield so many.

    Raises:
        InputError: `sentencepiece` is not installed, the size is less than the characters need, or there is
            nothing to learn from.
    """
    library, _ = import_sentencepiece(str(wanted))
    lossless = wanted.kind == "sp"
    form: dict[str, Any] = _LOSSLESS if lossless else _NFKC
    model = io.BytesIO()
    try:
        library.SentencePieceTrainer.train(
            sentence_iterator=_stretches(texts) if lossless else _stretches(_lines(texts)),
            model_writer=model,
            model_type="bpe",
            vocab_size=wanted.size,
            hard_vocab_limit=False,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            byte_fallback=True,
            character_coverage=0.999,
            required_chars=SPACE,
            split_digits=True,
            add_dummy_prefix=False,
            minloglevel=2,
            **form,
        )
    except RuntimeError as error:
        why = _why(reason(error), wanted)
        raise InputError(f"tokenizer {wanted} cannot be trained on this corpus: {why}") from None
    return SentencePieceTokenizer(model.getvalue(), str(wanted))


def _lines(texts: Iterable[str]) -> Iterator[str]:
    return (line for text in texts for line in text.splitlines())


def _stretches(texts: Iterable[str]) -> Iterator[str]:
    return (text[i : i + SENTENCE] for text in texts for i in range(0, len(text), SENTENCE))


def _why(complaint: str, wanted: Wanted) -> str:
    """What the trainer complains of, in terms of what can be asked for here."""
    if sizes := re.search(r"smaller than required_chars\. \d+ vs (\d+)", complaint):
        return f"its characters alone need {sizes[1]} ids; ask for {wanted.of_size(int(sizes[1]))} or more"
    if complaint.endswith("]"):  # a condition without words: no sentences, or none with a character
        return "it holds no text to learn from"
    return complaint.split("] ")[-1]
