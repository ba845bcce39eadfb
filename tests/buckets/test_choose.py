"""The search for ladders: as little padding as their number allows."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.buckets.bucket import Bucket
from sod2jax.buckets.choose import choose, extended
from sod2jax.buckets.ladders import Ladders
from sod2jax.errors import SpecError
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region


def region_of(*constraints, names):
    return Region.of(names, map(Comparison.parse, constraints))


def one_symbol(low, high, most):
    return choose(region_of(f"s >= {low}", f"s <= {high}", names=["s"]), {}, most)


def mean_ratio(ladder, low, high):
    padded = [min(edge for edge in ladder if edge >= n) / n for n in range(low, high + 1)]
    return sum(padded) / len(padded)


@given(st.integers(1, 6), st.integers(0, 9), st.integers(1, 4))
def test_ladder_is_optimal(low, length, most):
    high = low + length
    ((_, ladder),) = one_symbol(low, high, most).sizes
    inner = range(low, high)
    best = min(
        mean_ratio((*chosen, high), low, high)
        for count in range(min(most, length + 1))
        for chosen in itertools.combinations(inner, count)
    )
    assert mean_ratio(ladder, low, high) == pytest.approx(best)


@given(st.integers(1, 300), st.integers(0, 3000), st.integers(1, 12))
def test_ladder_ends_at_the_largest_size(low, length, most):
    ((_, ladder),) = one_symbol(low, low + length, most).sizes
    assert ladder[-1] == low + length
    assert list(ladder) == sorted(set(ladder))
    assert ladder[0] >= low
    assert 1 <= len(ladder) <= most


def test_edges_of_wide_ranges_are_aligned():
    ((_, ladder),) = one_symbol(1, 509, 8).sizes
    assert all(edge % 8 == 0 for edge in ladder[:-1])
    assert ladder[-1] == 509


def test_more_sizes_waste_less():
    ladders = [one_symbol(1, 200, most).sizes[0][1] for most in (1, 2, 4, 8, 16)]
    ratios = [mean_ratio(ladder, 1, 200) for ladder in ladders]
    assert ratios == sorted(ratios, reverse=True)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(1, 12))
def test_never_more_buckets_than_allowed(highs, most):
    names = "abc"[: len(highs)]
    bounds = [f"{n} <= {high}" for n, high in zip(names, highs, strict=True)]
    ladders = choose(region_of(*bounds, names=names), {}, most)
    assert 1 <= len(ladders.buckets) <= most
    assert dict(ladders.buckets[-1]) == dict(zip(names, highs, strict=True))


def test_symbols_with_and_without_a_bound():
    ladders = choose(region_of("b <= 4", names=["b", "s"]), {}, 2)
    assert ladders.bucket({"b": 4, "s": 20}) == Bucket.of({"b": 4, "s": 32})
    assert ladders.buckets == ()


def test_given_sizes_are_kept_and_share_the_limit():
    region = region_of("b <= 4", "s <= 64", names=["b", "s"])
    ladders = dict(choose(region, {"s": (16, 64)}, 6).sizes)
    assert ladders["s"] == (16, 64)
    assert len(ladders["b"]) <= 3
    assert ladders["b"][-1] == 4


def test_work_is_shared_where_it_saves_most():
    ladders = dict(choose(region_of("b <= 2", "s <= 512", names=["b", "s"]), {}, 8).sizes)
    assert len(ladders["s"]) > len(ladders["b"])
    assert math.prod(map(len, ladders.values())) <= 8


def test_no_symbols_make_one_bucket():
    ladders = choose(region_of(names=[]), {}, 8)
    assert ladders.buckets == (Bucket.of({}),)
    assert ladders.bucket({}) == Bucket.of({})
    assert str(Bucket.of({})) == "fixed shapes"


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ((8, 16), (8, 16)),
        ((8, 128), (8, 64)),
        ((2, 64), (64,)),
        ((128, 256), (64,)),
        ((1, 2), (64,)),
    ],
)
def test_given_sizes_are_cut_to_the_region_of(sizes, kept):
    region = region_of("s >= 4", "s <= 64", names=["s"])
    assert dict(choose(region, {"s": sizes}, 2).sizes) == {"s": kept}


def test_too_many_given_sizes_are_refused():
    with pytest.raises(SpecError, match="buckets asks for 3 executables; max_executables is 2"):
        choose(region_of("s <= 64", names=["s"]), {"s": (8, 16, 64)}, 2)


def test_a_huge_range_costs_no_more_than_a_small_one():
    ladders = choose(Region.of(["n"], [Comparison.parse("n <= 1000000000")]), {}, 8)
    ((_, ladder),) = ladders.sizes
    assert ladder is not None
    assert len(ladder) == 8
    assert ladder[-1] == 1_000_000_000


def test_ladders_with_edges() -> None:
    region = Region.of(("s",), [Comparison.parse("s <= 512")])
    ladders = choose(region, {}, 8, {"s": (3, 100)})
    ((_, sizes),) = ladders.sizes
    assert len(sizes) == 8 and {3, 100, 512} <= set(sizes)
    assert [b.lowest[0][1] for b in ladders.buckets] == [1, *(size + 1 for size in sizes[:-1])]
    assert dict(choose(region, {}, 2, {"s": (3, 100)}).sizes) == dict(choose(region, {}, 2).sizes)
    given = choose(region, {"s": (64, 512)}, 8, {"s": (3,)})
    assert given.sizes == (("s", (64, 512)),) and given.separate == {"s"}
    free = choose(region, {}, 8)
    assert all(not b.lowest for b in free.buckets)


def test_symbols_of_a_part_share_what_the_others_leave():
    before = Ladders((("n", (8, 64)),), frozenset({"n"}))
    region = region_of("n <= 64", "u <= 64", names=["n", "u", "v"])
    ladders = extended(before, region, 12)
    sizes = dict(ladders.sizes)
    assert sizes["n"] == (8, 64) and sizes["v"] is None
    assert len(sizes["u"]) == 6 and sizes["u"][-1] == 64
    assert ladders.separate == {"n"}
    assert len(dict(extended(before, region, 2).sizes)["u"]) == 4


def test_symbols_that_a_part_does_not_know_are_left_out():
    before = Ladders((("m", (4,)), ("n", (8, 64))), frozenset({"m"}))
    ladders = extended(before, region_of("n <= 64", "u <= 3", names=["n", "u"]), 8)
    assert ladders == Ladders((("n", (8, 64)), ("u", (1, 2, 3))))


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 300), st.integers(1, 6))
def test_sizes_that_are_multiples_have_ladders_of_multiples(unit, low, more, most):
    high = low + unit + more
    region = region_of(f"s >= {low}", f"s <= {high}", f"s % {unit} == 0", names=["s"])
    served = range(-(-low // unit) * unit, high + 1, unit)
    for given_sizes in ({}, {"s": (low, high)}):
        ladders = choose(region, given_sizes, max(most, len(given_sizes) * 2))
        ladder = dict(ladders.sizes)["s"]
        assert all(size % unit == 0 for size in ladder)
        assert ladder[-1] == served[-1]
        assert all(ladders.bucket({"s": size})["s"] >= size for size in served)


def test_a_part_keeps_the_multiples_of_the_whole():
    region = region_of("b % 8 == 0", "n % 4 == 0", "n <= 30", names=["b", "n"])
    before = choose(region.restricted(["b"]), {}, 8)
    ladders = extended(before, region, 8)
    assert dict(ladders.units) == {"b": 8, "n": 4}
    assert all(size % 4 == 0 for size in dict(ladders.sizes)["n"])
