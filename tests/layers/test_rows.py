"""Depth compaction: gathering and scattering lose and mix nothing."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tmt.layers.rows import Rows

SHAPES = dict(
    batch=st.integers(1, 4), length=st.integers(1, 7), seed=st.integers(0, 200), share=st.floats(0, 1)
)


def draw(batch: int, length: int, seed: int, share: float) -> tuple[Rows, torch.Tensor, torch.Tensor]:
    """A subset, its mask over the grid, and a grid of values."""
    torch.manual_seed(seed)
    positions = torch.randint(0, 9, (batch, 1)) + torch.arange(length)
    mask = torch.rand(batch * length) < share
    return Rows(positions).keep(places(mask)), mask, torch.randn(batch * length, 3)


def places(mask: torch.Tensor) -> torch.Tensor:
    return mask.nonzero()[:, 0]


@given(**SHAPES)
def test_take_and_put(batch: int, length: int, seed: int, share: float):
    rows, mask, grid = draw(batch, length, seed, share)
    assert rows.count == mask.sum()
    assert torch.equal(rows.take(grid), grid[mask])
    assert torch.equal(rows.positions, rows.grid_positions.flatten()[mask])
    values = torch.randn(rows.count, 3)
    changed = rows.put(grid, values)
    assert torch.equal(changed[mask], values)
    assert torch.equal(changed[~mask], grid[~mask])
    assert torch.equal(rows.put(grid, rows.take(grid)), grid)


@given(**SHAPES)
def test_pack_and_unpack(batch: int, length: int, seed: int, share: float):
    rows, mask, grid = draw(batch, length, seed, share)
    values = rows.take(grid)
    packed = rows.pack(values)
    per_row = mask.view(batch, length).sum(1).tolist()
    assert packed.shape == (batch, max(per_row), 3)
    assert torch.equal(rows.unpack(packed), values)
    for b, count in enumerate(per_row):
        assert torch.equal(packed[b, :count], grid.view(batch, length, 3)[b][mask.view(batch, length)[b]])
        assert torch.count_nonzero(packed[b, count:]) == 0


@given(**SHAPES, second=st.floats(0, 1))
def test_keeping_twice_is_keeping_both(batch: int, length: int, seed: int, share: float, second: float):
    rows, mask, grid = draw(batch, length, seed, share)
    both = mask & (torch.rand(len(mask)) < second)
    assert torch.equal(rows.keep(places(both[mask])).take(grid), grid[both])


@given(batch=st.integers(1, 4), each=st.integers(0, 5), seed=st.integers(0, 50))
def test_as_many_of_every_row_need_no_counting(batch: int, each: int, seed: int):
    torch.manual_seed(seed)
    order = torch.rand(batch, 5).argsort(1)[:, :each].sort(1).values
    index, positions = (order + 5 * torch.arange(batch)[:, None]).flatten(), torch.arange(5).repeat(batch, 1)
    if not each:
        assert Rows(positions).keep(index, each).packed_positions.shape == (batch, 0)
        return
    told, counted = (Rows(positions).keep(index, count) for count in (each, None))
    values = torch.randn(batch * each, 3)
    assert torch.equal(told.packed_positions, counted.packed_positions)
    assert torch.equal(told.pack(values), counted.pack(values))
    assert torch.equal(told.unpack(told.pack(values)), values)


def test_everything_is_not_copied():
    rows, grid = Rows(torch.arange(6).view(2, 3)), torch.randn(6, 4)
    assert rows.count == 6
    assert rows.take(grid) is grid
    assert torch.equal(rows.put(torch.zeros(6, 4), grid), grid)
    assert torch.equal(rows.unpack(rows.pack(grid)), grid)


def test_gradients_pass_through_packing():
    rows = Rows(torch.arange(4).repeat(2, 1)).keep(torch.tensor([0, 2, 3, 6]))
    values = torch.randn(rows.count, 2, dtype=torch.float64, requires_grad=True)
    grid = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, g: rows.put(g, rows.unpack(rows.pack(v) ** 2)), (values, grid))


@given(**SHAPES)
def test_sequences_are_the_rows_without_padding(batch: int, length: int, seed: int, share: float):
    rows, mask, _ = draw(batch, length, seed, share)
    each = zip(rows.grid_positions, mask.view(batch, length), rows.sequences(), strict=True)
    for positions, kept, sequence in each:
        assert torch.equal(sequence, positions[kept][None])
    whole = Rows(rows.grid_positions)
    assert torch.equal(torch.cat(whole.sequences()), rows.grid_positions)
