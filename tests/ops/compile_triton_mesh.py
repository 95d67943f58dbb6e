"""Compile the Triton kernels of the mesh for a GPU that need not be there, and print their names.

With the argument "few", only those of the forward pass.

The functions that launch the kernels run as ever, on tensors of the CPU; a stand-in for the driver names the
target, and every launch stops after compiling.
"""

import sys

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from tmt.ops.mesh import (
    Anchors,
    ForgetBias,
    GraphSpec,
    MeshInputs,
    SimilarityBias,
    graph,
    triton_attention,
)
from tmt.ops.mesh.triton_graph import build_graph

HOPPER = GPUTarget("cuda", 90, warp_size=32)


class AbsentGPU:
    """As much of a driver as compiling asks for."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return HOPPER


def compile_instead_of_launching() -> None:
    launch = JITFunction.run

    def run(self, *arguments, warmup, **options):
        launch(self, *arguments, warmup=True, **options)
        print(self.fn.__name__)

    JITFunction.run = run


def draw_inputs() -> MeshInputs:
    """Every part, in the types of mixed precision: biases are finer than queries, keys and values."""
    batch, queries, keys, heads, width, routing = 2, 48, 64, 4, 64, 64

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.bfloat16)

    return MeshInputs(
        q=normal(batch, queries, heads, width),
        k=normal(batch, keys, heads, width),
        v=normal(batch, keys, heads, width),
        positions=torch.arange(queries).expand(batch, -1),
        window=16,
        neighbours=torch.full((batch, queries, 16), -1, dtype=torch.int32),
        similarity=SimilarityBias(
            torch.randn(batch, queries, routing), torch.randn(batch, keys, routing), torch.ones(heads)
        ),
        forget=ForgetBias(torch.zeros(batch, queries, heads), torch.zeros(batch, keys, heads)),
        decay_rate=torch.ones(heads),
        anchors=Anchors(torch.randn(batch, queries, heads, 16), normal(1, 16, heads, width)),
    )


def main(amount: str) -> None:
    driver.set_active(AbsentGPU())
    compile_instead_of_launching()
    inputs = draw_inputs()
    output, lse, _ = triton_attention.forward(inputs)
    if amount == "few":
        return
    triton_attention.backward(inputs, output, output, lse)
    routing, positions = inputs.similarity.k, torch.arange(64).expand(2, -1)
    means = graph.block_means(routing, 16, 0, 4)
    build_graph(routing, routing, positions, GraphSpec(exact_until=48, block=16), None, means)


if __name__ == "__main__":
    main(sys.argv[1])
