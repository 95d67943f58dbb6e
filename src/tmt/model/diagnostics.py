"""The published diagnostics of a pass, made from what its layers left when somebody reads them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tmt.layers.rows import rolled
from tmt.model.output import ModelOutput
from tmt.model.trace import LayerTrace, edge_list


class Diagnostics:
    """What a pass over tokens (B, T) did; nothing is computed before it is read.

    Gradients reach what the pass computed, such as the gates through their confidences.
    """

    def __init__(
        self,
        tokens: Tensor,
        traces: list[LayerTrace],
        meshed: int,
        memory_state: Tensor | None,
        channel_decay: nn.Module | None,
    ):
        """`meshed` is the layer whose edges are shown; `channel_decay` that of the last layer."""
        self.traces, self.memory_state = traces, memory_state
        self._tokens, self._meshed, self._channel_decay = tokens, meshed, channel_decay
        self.turned: Tensor | None = None
        """(B,) columns, modulo T, from where a row's tokens were in the pass to where they stand."""

    @cached_property
    def exit_masks(self) -> list[Tensor]:
        """Per layer (B, T) bool: the token has left at or before this layer."""
        left = torch.zeros(self._tokens.numel(), dtype=torch.bool, device=self._tokens.device)
        masks = []
        for trace in self.traces:
            if trace.decision is not None:
                left = trace.rows.put(left, ~trace.decision.stay)
            masks.append(self._grid(left))
        return masks

    @cached_property
    def confidences(self) -> list[Tensor]:
        """Per layer (B, T) float32 in (0, 1): what the token's latest gate said."""
        tiny = torch.finfo(torch.float32).tiny
        confidence = torch.full((self._tokens.numel(),), tiny, device=self._tokens.device)
        latest = []
        for trace in self.traces:
            if trace.decision is not None:
                confidence = trace.rows.put(confidence, trace.decision.confidence)
            latest.append(self._grid(confidence))
        return latest

    @cached_property
    def graph_edges(self) -> tuple[Tensor, Tensor]:
        """edge_index (2, E) int64 over flattened tokens, row 0 the receiver; edge_weight (E,) similarity."""
        index, weight = edge_list(self.traces[self._meshed])
        if self.turned is not None:
            length = self._tokens.shape[1]
            row, column = index // length, index % length
            index = row * length + (column + self.turned.to(index.device)[row]) % length
        return index, weight

    @cached_property
    def decay_scalars(self) -> Tensor:
        """(B, T, D) channel scales of the last layer."""
        states, positions = self.traces[-1].states, self.traces[-1].rows.grid_positions.flatten()
        if self._channel_decay is None:
            return torch.ones(*self._tokens.shape, states.shape[1], device=states.device)
        return self._grid(self._channel_decay(positions))

    def _grid(self, values: Tensor) -> Tensor:
        """(B·T, …) to (B, T, …), each token where it stood."""
        grid = values.unflatten(0, self._tokens.shape)
        return grid if self.turned is None else rolled(grid, self.turned)


@dataclass(repr=False)
class TMTOutput(ModelOutput):
    """A :class:`ModelOutput` with the published diagnostics, each made when it is first read.

    They are None where none were asked for. `graph_edges` are those of the last mesh layer, within this
    call's tokens; `memory_state` (M, D) are the anchors; `confidences` train the gates where a loss reads
    them. See :class:`Diagnostics` for the shapes.
    """

    diagnostics: Diagnostics | None = None

    @property
    def traces(self) -> list[LayerTrace]:
        """What each layer did."""
        return [] if self.diagnostics is None else self.diagnostics.traces

    @property
    def exit_masks(self) -> list[Tensor] | None:
        """Per layer (B, T) bool."""
        return None if self.diagnostics is None else self.diagnostics.exit_masks

    @property
    def confidences(self) -> list[Tensor] | None:
        """Per layer (B, T) float32 in (0, 1)."""
        return None if self.diagnostics is None else self.diagnostics.confidences

    @property
    def graph_edges(self) -> tuple[Tensor, Tensor] | None:
        """edge_index (2, E) int64 and edge_weight (E,)."""
        return None if self.diagnostics is None else self.diagnostics.graph_edges

    @property
    def memory_state(self) -> Tensor | None:
        """(M, D)."""
        return None if self.diagnostics is None else self.diagnostics.memory_state

    @property
    def decay_scalars(self) -> Tensor | None:
        """(B, T, D)."""
        return None if self.diagnostics is None else self.diagnostics.decay_scalars

    def padded_on_the_left(self, lengths: Tensor) -> None:
        """See :class:`ModelOutput`."""
        super().padded_on_the_left(lengths)
        if self.diagnostics is not None:
            self.diagnostics.turned = -lengths
