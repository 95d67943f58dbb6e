"""Any module from tokens to logits as the rules see it."""

from typing import Any

import torch
from torch import Tensor, nn

from tmt.errors import InputError, reason
from tmt.verify.subject import NotOfferedError, Subject


class Plain(Subject):
    """A `torch.nn.Module` that maps tokens (B, T) to logits (B, T, V), or to something with `.logits`.

    Its vocabulary is `vocab_size`, its own or its configuration's, or the rows of its first embedding; the
    longest text is `max_seq_len` in the same way; an attribute `separator` claims that documents are kept
    apart by that token.
    A method `loss(tokens, targets)`, targets −100 where nothing is scored, has its loss compared.
    """

    def __init__(self, module: nn.Module, name: str):
        self.module, self.name = module, name
        self.vocab_size = self._size()
        self.longest, self.separator = self._own("max_seq_len"), getattr(module, "separator", None)
        self._try()

    def _own(self, name: str) -> Any:
        return getattr(self.module, name, getattr(getattr(self.module, "config", None), name, None))

    def _size(self) -> int:
        size = self._own("vocab_size")
        if size is None and (embedding := self._embedding()) is not None:
            size = embedding.num_embeddings
        if not isinstance(size, int) or size < 1:
            raise InputError(
                f"{self.name} does not say how many tokens it knows; give it an attribute vocab_size"
            )
        return size

    def _try(self) -> None:
        """InputError unless two tokens give two rows of logits."""
        tokens = torch.zeros(1, 2, dtype=torch.long, device=self.device)
        try:
            with torch.no_grad():
                result = self.logits(tokens)
        except Exception as error:
            raise InputError(
                f"{self.name} cannot read tokens (1, 2): {type(error).__name__}: {reason(error)}"
            ) from error
        if not isinstance(result, Tensor):
            raise InputError(
                f"{self.name} returns {type(result).__name__}, not logits or something with .logits"
            )
        if result.ndim != 3 or result.shape[:2] != (1, 2):
            shape = tuple(result.shape)
            raise InputError(f"{self.name} makes {shape} of tokens (1, 2); logits are (1, 2, vocabulary)")

    def logits(self, tokens: Tensor, lengths: Tensor | None = None, side: str = "right") -> Tensor:
        """See :class:`Subject`."""
        if lengths is not None:
            raise NotOfferedError("it does not know of padding")
        output = self.module(tokens)
        return getattr(output, "logits", output)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """See :class:`Subject`."""
        own = getattr(self.module, "loss", None)
        if not callable(own):
            raise NotOfferedError("no loss is offered")
        return own(tokens, targets)

    def embedded(self, tokens: Tensor) -> Tensor:
        """See :class:`Subject`."""
        embedding = self._embedding()
        if embedding is None:
            raise NotOfferedError("it has no embedding")
        return embedding(tokens)

    def logits_of(self, tokens: Tensor, embedded: Tensor) -> Tensor:
        """See :class:`Subject`."""
        embedding = self._embedding()
        if embedding is None:
            raise NotOfferedError("it has no embedding")
        hook = embedding.register_forward_hook(lambda *_: embedded)
        try:
            return self.logits(tokens)
        finally:
            hook.remove()

    def _embedding(self) -> nn.Embedding | None:
        """The first one of the module, or of the copy of it that is tried."""
        return next((part for part in self.module.modules() if isinstance(part, nn.Embedding)), None)
