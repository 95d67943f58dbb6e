"""Decoding by one step of static shapes, which a GPU replays as a CUDA graph. Not measured on a GPU."""

import torch
from torch import Tensor

from tmt.errors import InputError
from tmt.generate import captured
from tmt.layers.cache import State
from tmt.model.base import LanguageModel

LEAST = 64
"""Tokens that the buffers hold at least."""


class StaticDecoder:
    """Reads one more token a call, with the results of the model's own forward pass.

    The step is :meth:`LanguageModel.forward` with a `capacity`, on tensors that stay where they are: the
    token ids, the state and the logits. On CUDA it is captured and replayed
    (:class:`tmt.generate.captured.Captured`); elsewhere it runs each time. When the longest row fills the
    buffers they are doubled, and the new step is captured. The model's weights must not be moved meanwhile.
    """

    def __init__(self, model: LanguageModel, state: State, length: int, limit: int):
        """Go on from a state.

        Args:
            model: one that is `decodes_statically`, in eval mode.
            state: what the model returned for the tokens so far (B rows); it is consumed.
            length: tokens so far of the longest row.
            limit: tokens that it will have at most.

        Raises:
            InputError: the model offers no such step, or takes no sequence of `limit` tokens.
        """
        if not model.decodes_statically:
            raise InputError("this model's steps of decoding depend on what was read; none can be captured")
        if limit > model.config.longest:
            raise InputError(f"a sequence of {limit} tokens exceeds {model.config.limit}")
        self._model, self._state, self._length, self._limit = model, state, length, limit
        self._capacity, self._adopted = length, False
        self._tokens = state[0].new_zeros(len(state[0]), 1)
        self._logits: Tensor | None = None
        self._captured: captured.Captured | None = None

    @torch.inference_mode()  # in which autocast keeps no weights that could go before the graph
    def __call__(self, tokens: Tensor) -> Tensor:
        """Read (B, 1) tokens; the logits (B, V) after them, which the next call may overwrite.

        Raises:
            InputError: a row has reached `limit`.
        """
        with torch.cuda.device_of(self._tokens):
            if self._length == self._capacity:
                self._enlarge()
            self._tokens.copy_(tokens)
            self._length += 1
            if self._captured is None:
                self._step()
            else:
                self._captured(self._step)
        assert self._logits is not None
        return self._logits

    def _enlarge(self) -> None:
        if self._length >= self._limit:
            raise InputError(f"a row has the {self._limit} tokens that were announced; begin anew for more")
        self._capacity = min(self._limit, max(LEAST, 2 * self._length))
        self._adopted, self._logits = False, None
        device = self._tokens.device
        self._captured = captured.Captured(device) if captured.possible(device) else None

    def _step(self) -> None:
        output = self._model(
            self._tokens, self._state, last_only=True, return_diagnostics=False, capacity=self._capacity
        )
        self._logits = output.logits[:, -1]
        if not self._adopted:
            self._state, self._adopted = output.state, True
            return
        for old, new in zip(self._state, output.state, strict=True):
            if new is not old:
                old.copy_(new)
