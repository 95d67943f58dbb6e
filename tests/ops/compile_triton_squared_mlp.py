"""Compile the Triton kernels of the squared MLP for a GPU that need not be there.

Prints for each its name, the shared memory that it takes in bytes, and how its copies and products are done.
"""

import torch
from compile_triton_mesh import AbsentGPU
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from tmt.ops.squared_mlp import triton_tma, triton_units

INSTRUCTIONS = {"tensor copies": "cp.async.bulk.tensor", "matrix products": "wgmma.mma_async"}


def compile_instead_of_launching() -> None:
    launch = JITFunction.run

    def run(self, *arguments, warmup, **options):
        kernel = launch(self, *arguments, warmup=True, **options)
        found = [name for name, text in INSTRUCTIONS.items() if text in kernel.asm["ptx"]]
        print(self.fn.__name__, kernel.metadata.shared, ", ".join(found))

    JITFunction.run = run


def main() -> None:
    driver.set_active(AbsentGPU())
    compile_instead_of_launching()
    triton_tma._processors = lambda device: 132
    x, weight = torch.randn(300, 512), torch.randn(2048, 512)
    triton_tma.units_and_slopes(x.bfloat16(), weight.bfloat16(), 0.5)
    tiles = triton_units.TILES
    for dtype in (torch.bfloat16, torch.float32):
        for tile in tiles:
            triton_units.multiply.configs = [tile]
            triton_units.units_and_slopes(x.to(dtype), weight.to(dtype), 0.5)


if __name__ == "__main__":
    main()
