"""A trained model in a script: what the commands do with a run, as methods that return values."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, overload

import torch
from torch import Tensor

from tmt import run_folder
from tmt.checkpoint import Run, load_run
from tmt.evaluate.scored_text import ScoredText, evaluate_text, scored_text
from tmt.generate import Sampler, generate_until
from tmt.text import Part
from tmt.text.corpus import MemoryCorpus
from tmt.tokens.prepare import prepare_whole


@dataclass(repr=False)
class LoadedRun(Run):
    """A trained model and its tokenizer, in eval mode; nothing here keeps gradients.

    A text begins a document: the tokenizer's separator is read before it. Attributes as of
    :class:`tmt.checkpoint.Run`: `model`, `tokenizer`, `config` and `folder`.
    """

    @torch.no_grad()
    def logits(self, text: str | Sequence[int] | Tensor) -> Tensor:
        """What the model expects after each token of a text.

        Args:
            text: a text, or token ids (T,), which are read as they are.

        Returns:
            (T, V) on the model's device, row i after token i; a text of n tokens makes n + 1 rows, of which
            the first is the expectation at its beginning.

        Raises:
            InputError: ids of another shape or outside the vocabulary, or more than the model reads.
        """
        ids = self.ids(text) if isinstance(text, str) else text
        tokens = torch.as_tensor(ids, device=next(self.model.parameters()).device)[None]
        return self.model(tokens, return_diagnostics=False).logits[0]

    def ids(self, text: str) -> list[int]:
        """The tokens that the model reads of a text: the separator's and its own."""
        return [self.tokenizer.eot_id, *self.tokenizer.encode(text)]

    @overload
    def generate(self, prompt: str = "", **options: Any) -> str: ...
    @overload
    def generate(self, prompt: list[str], **options: Any) -> list[str]: ...
    def generate(
        self,
        prompt: str | list[str] = "",
        *,
        max_new_tokens: int = 200,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        **choice: Any,
    ) -> str | list[str]:
        """What the model writes after a prompt, or after each of several, read together.

        The same tokens as `tmt generate` writes. A text ends with its document; prompts that leave no room
        for the new tokens are read from later on.

        Args:
            prompt: a text, or several; "" begins a document.
            max_new_tokens: tokens to write at most.
            stop: texts before which to end.
            seed: of the choices; those of a prompt depend on its place among the others, not on them.
            choice: how tokens are chosen, the fields of :class:`tmt.generate.Sampler`: temperature, top_k, ….

        Returns:
            The text without its prompt; a list of them for several.

        Raises:
            InputError: an argument is out of range.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        texts = generate_until(
            self.model,
            self.tokenizer,
            prompts,
            [stop] if isinstance(stop, str) else stop,
            max_new_tokens=max_new_tokens,
            sampler=Sampler(**choice),
            seed=seed,
        )
        return texts[0] if isinstance(prompt, str) else texts

    def evaluate(
        self,
        text: str | Path | None = None,
        *,
        data: str | None = None,
        split: Part | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Score a text: what `tmt eval --json` says, under the same names.

        Args:
            text: the text itself, scored whole; or the path of one, as `data`.
            data: a corpus, as in `tmt eval --data`; default: the run's own.
            split: which part of the corpus; default: as in `tmt eval`.
            options: see :func:`tmt.evaluate.evaluate_run`: context, stride, limit, batch_size, raw_bytes.

        Returns:
            Among others `bpb` (bits per byte), `nats` (per token), `ppl`, `tokens`, `mean_depth`,
            `flops_per_token` and `causal_max_diff`.

        Raises:
            InputError: the text cannot be opened or is too short, or an option is out of range.
            LeakError: the model sees the future.
        """
        if not isinstance(text, str):
            source = data if text is None else str(text)
            return evaluate_text(self, scored_text(self, source, split), **options)
        corpus = MemoryCorpus("the given text", sha256(text.encode()).hexdigest(), [text])
        with TemporaryDirectory(prefix="tmt-") as folder:
            splits = prepare_whole(corpus, self.tokenizer, folder)
            return evaluate_text(self, ScoredText(corpus.name, splits, "all"), **options)

    def __repr__(self) -> str:
        """What it is, in one line."""
        size, tokenizer = self.model.param_count(), self.config.data.tokenizer
        return f"{type(self).__name__}({self.folder}: {self.config.arch}, {size:,} parameters, {tokenizer})"


def load(
    path: str | Path, *, device: str = "auto", overrides: Sequence[str] = (), trust: str | None = None
) -> LoadedRun:
    """Open a trained model.

    Args:
        path: a run folder, or an artifact of `tmt pack`.
        device: "cpu", "cuda", …; "auto": an accelerator where there is one.
        overrides: "model.field=value" for fields that shape no weight.
        trust: run this file (or installed architecture) as the model of a run whose own code is elsewhere,
            changed or not agreed to yet; it is remembered.

    Raises:
        InputError: it is missing, incomplete, damaged or of another version, its code may not run, or there
            is no such device.
    """
    if trust is not None:
        run_folder.trust(path, trust)
    return LoadedRun(**vars(load_run(path, device, overrides)))
