"""Offsets against the exhaustive optimum of small instances, and their invariants."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.memory import Allocation, Buffer, lower_bound, overlaps, plan_offsets

STEPS = 8


def temp(name: str, size: int, first: int, last: int) -> Buffer:
    return Buffer(name, size, first, last, "temp")


def optimum(buffers: Sequence[Buffer], alignment: int) -> int:
    """Smallest arena: the best of all orders in which each buffer takes the lowest free offset."""
    return min(extent_of_order(order, alignment) for order in itertools.permutations(buffers))


def extent_of_order(order: Sequence[Buffer], alignment: int) -> int:
    placed: list[tuple[int, int, Buffer]] = []
    for buffer in order:
        size = (buffer.size + alignment - 1) // alignment * alignment
        busy = [(a, b) for a, b, o in placed if o.first <= buffer.last and buffer.first <= o.last]
        starts = [0, *(end for _, end in busy)]
        free = [s for s in starts if all(s + size <= a or b <= s for a, b in busy)]
        placed.append((min(free), min(free) + size, buffer))
    return max(end for _, end, _ in placed)


@st.composite
def instances(draw: st.DrawFn, most: int) -> list[Buffer]:
    ranges = st.tuples(st.integers(0, STEPS - 1), st.integers(0, STEPS - 1)).map(sorted)
    drawn = draw(st.lists(st.tuples(st.integers(1, 700), ranges), min_size=1, max_size=most))
    return [temp(f"b{i}", size, *span) for i, (size, span) in enumerate(drawn)]


@given(instances(most=5), st.sampled_from([64, 256]))
def test_arena_lies_between_the_optimum_and_one_and_a_half_times_it(buffers, alignment):
    _, arena = plan_offsets(buffers, alignment)
    assert optimum(buffers, alignment) <= arena <= 1.5 * optimum(buffers, alignment)


@given(instances(most=40), st.sampled_from([64, 256]))
def test_allocations_are_aligned_apart_and_above_the_lower_bound(buffers, alignment):
    allocations, arena = plan_offsets(buffers, alignment)
    by_name = {a.name: a for a in allocations}
    assert overlaps(allocations) == []
    assert sorted(by_name) == sorted(b.name for b in buffers)
    assert all(a.offset % alignment == 0 and a.size % alignment == 0 for a in allocations)
    assert all(b.size <= by_name[b.name].size < b.size + alignment for b in buffers)
    assert arena == max(a.offset + a.size for a in allocations) >= lower_bound(buffers, alignment)


def test_mean_arena_is_within_one_percent_of_the_optimum():
    rng = random.Random(0)
    ratios = []
    for _ in range(100):
        spans = [sorted((rng.randrange(STEPS), rng.randrange(STEPS))) for _ in range(6)]
        buffers = [temp(f"b{i}", 64 * rng.randint(1, 9), *span) for i, span in enumerate(spans)]
        ratios.append(plan_offsets(buffers, 64)[1] / optimum(buffers, 64))
    assert sum(ratios) / len(ratios) <= 1.01


@given(
    st.lists(
        st.builds(
            lambda offset, size, span: Allocation("a", offset, size, *sorted(span)),
            st.integers(0, 9),
            st.integers(1, 4),
            st.tuples(st.integers(0, 5), st.integers(0, 5)),
        ),
        max_size=8,
    )
)
def test_overlaps_are_the_pairs_that_share_a_byte_at_a_step(allocations):
    def cells(a: Allocation) -> set[tuple[int, int]]:
        bytes_ = range(a.offset, a.offset + a.size)
        return set(itertools.product(bytes_, range(a.first, a.last + 1)))

    expected = sum(bool(cells(a) & cells(b)) for a, b in itertools.combinations(allocations, 2))
    assert len(overlaps(allocations)) == expected


def test_lower_bound_counts_whole_alignments_at_the_busiest_step():
    buffers = [temp("a", 1, 0, 1), temp("b", 65, 1, 2), temp("c", 100, 2, 3)]
    assert lower_bound(buffers, 64) == 128 + 128


@pytest.mark.parametrize("buffers", [[], [temp("empty", 0, 0, 3)]])
def test_nothing_to_place_needs_no_arena(buffers):
    assert plan_offsets(buffers, 64) == ((), 0)
    assert lower_bound(buffers, 64) == 0


def test_a_gap_is_filled_before_the_arena_grows():
    buffers = [
        temp("low", 256, 0, 3),
        temp("middle", 128, 0, 1),
        temp("high", 192, 0, 3),
        temp("late", 128, 2, 3),
    ]
    allocations, arena = plan_offsets(buffers, 64)
    offset = {a.name: a.offset for a in allocations}
    assert offset["late"] == offset["middle"]
    assert arena == 576
