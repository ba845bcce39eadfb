"""Ladders: which bucket a call gets, and which there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.buckets.bucket import Bucket
from sod2jax.buckets.ladders import Ladders
from sod2jax.errors import InvariantError


@given(st.sets(st.integers(1, 60), min_size=1), st.integers(1, 60))
def test_smallest_bucket_that_holds_a_size(edges, size):
    ladders = Ladders((("s", tuple(sorted(edges))),))
    fitting = [edge for edge in sorted(edges) if edge >= size]
    if fitting:
        assert ladders.bucket({"s": size}) == Bucket.of({"s": fitting[0]})
        return
    with pytest.raises(InvariantError, match=r"no bucket of Ladders\(s: .*\) holds \{'s': "):
        ladders.bucket({"s": size})


def test_without_a_ladder_sizes_grow_by_powers_of_two():
    ladders = Ladders((("s", None),))
    sizes = [1, 16, 17, 33, 1000, 2**20, 2**20 + 1]
    grown = [ladders.bucket({"s": n})["s"] for n in sizes]
    assert grown == [16, 16, 32, 64, 1024, 2**20, 2**21]
    assert ladders.buckets == ()


def test_growth_begins_where_it_is_told_to():
    ladders = Ladders((("b", None), ("s", None)), starts=(("b", 2),))
    grown = [ladders.bucket({"b": n, "s": n}) for n in (1, 3, 16)]
    assert grown == [Bucket.of({"b": b, "s": 16}) for b in (2, 4, 16)]


def test_growth_ends_where_decisions_end_it():
    ladders = Ladders((("s", None),), ends=(("s", 100),))
    grown = [ladders.bucket({"s": n})["s"] for n in (1, 17, 64, 65, 100)]
    assert grown == [16, 32, 64, 100, 100]
    assert Ladders((("s", None),), ends=(("s", 3),)).bucket({"s": 1}) == Bucket.of({"s": 3})
    with pytest.raises(InvariantError, match="no bucket of"):
        ladders.bucket({"s": 101})


def test_every_bucket_smallest_first():
    ladders = Ladders((("b", (1, 4)), ("s", (8, 10))))
    sizes = [{"b": 1, "s": 8}, {"b": 1, "s": 10}, {"b": 4, "s": 8}, {"b": 4, "s": 10}]
    assert ladders.buckets == tuple(map(Bucket.of, sizes))


def test_buckets_of_a_separate_symbol_do_not_overlap():
    ladders = Ladders((("b", (2, 4)), ("s", (8, 16))), frozenset({"s"}))
    assert {bucket["s"]: bucket.lowest for bucket in ladders.buckets} == {
        8: (("s", 1),),
        16: (("s", 9),),
    }
    assert ladders.bucket({"b": 1, "s": 9}).lowest == (("s", 9),)


def test_a_ladder_that_grows_keeps_to_its_unit():
    ladders = Ladders((("b", None),), units=(("b", 6),))
    sizes = [ladders.bucket({"b": size})["b"] for size in (6, 18, 24, 30, 60)]
    assert sizes == [18, 24, 24, 48, 96]
    ended = Ladders((("b", None),), ends=(("b", 90),), units=(("b", 6),))
    assert ended.bucket({"b": 54})["b"] == 90


def test_repr():
    ladders = Ladders((("b", (1, 4)), ("n", None), ("s", tuple(range(8, 800, 8)))))
    assert repr(ladders) == "Ladders(b: 1 4; n: powers of 2; s: 99 from 8 to 792)"
