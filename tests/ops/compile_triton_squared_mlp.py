"""Compile the Triton kernels of the squared MLP for a GPU that need not be there.

With the argument "few", the one with tensor copies and a first tile of the other.
Prints for each its name, the shared memory that it takes in bytes, and how its copies and products are done.
"""

import sys
from itertools import product

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


def main(amount: str) -> None:
    driver.set_active(AbsentGPU())
    compile_instead_of_launching()
    triton_tma._processors = lambda device: 132
    x, weight = torch.randn(300, 512), torch.randn(2048, 512)
    triton_tma.units_and_slopes(x.bfloat16(), weight.bfloat16(), 0.5)
    kinds = list(product((torch.bfloat16, torch.float32), triton_units.TILES))
    for dtype, tile in kinds[:1] if amount == "few" else kinds:
        triton_units.multiply.configs = [tile]
        triton_units.units_and_slopes(x.to(dtype), weight.to(dtype), 0.5)


if __name__ == "__main__":
    main(sys.argv[1])
