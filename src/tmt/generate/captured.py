"""A call that is captured in a CUDA graph, and from then on replayed. Not measured on a GPU."""

from collections.abc import Callable

import torch

WARM_UP = 2
"""Runs before the capture: in the first one kernels compile, libraries allocate and buffers are made."""


def possible(device: torch.device) -> bool:
    """Whether calls on that device can be captured."""
    return device.type == "cuda"


class Captured:
    """The graph of a call on a GPU: the call runs `WARM_UP` times, then it is captured, and replayed.

    A replay launches all kernels of the call at once, and nothing of its Python runs: the tensors that it
    reads and writes must be the same ones, and no path or shape may depend on what is in them. Results of
    the captured call stay where they are, for the next replay to overwrite.
    """

    def __init__(self, device: torch.device):
        """`device` is the GPU's; the call's memory lives as long as this object."""
        self._runs = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(device)

    def __call__(self, call: Callable[[], None]) -> None:
        """Call, in the order of the current stream; `call` is the same one each time."""
        if self._graph is None and self._runs == WARM_UP:
            self._graph = self._capture(call)
        if self._graph is None:
            self._runs += 1
            self._run_aside(call)
        else:
            self._graph.replay()

    def _run_aside(self, call: Callable[[], None]) -> None:
        """On the stream that will be captured: what libraries keep for a stream is made before."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            call()
        current.wait_stream(self._stream)

    def _capture(self, call: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """The call's kernels, none of them run yet, in memory of their own."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            call()
        return graph
