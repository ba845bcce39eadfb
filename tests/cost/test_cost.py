"""Costs as values: arithmetic, sizes put in, seconds, text."""

from __future__ import annotations

import pytest

from sod2jax.cost import Cost
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.target import Target


def test_costs_add_up() -> None:
    a, b = Cost(flops=dims.parse("2*s"), bytes=10), Cost(flops=5, bytes=dims.parse("s"))
    assert (a + b).at({"s": 3}) == Cost(11, 13)
    assert a.times(dims.parse("b")).at({"b": 2, "s": 3}) == Cost(12, 20)
    assert a.most(b).at({"s": 2}) == Cost(5, 10)


def test_seconds() -> None:
    target = Target("cpu", flops_per_second=10, bytes_per_second=5, transcendentals_per_second=2)
    assert Cost(20, 30, 4).seconds(target) == 2 + 6 + 2
    assert Cost(10**10, 10**10, 10**9).seconds(Target("cpu")) == 3.0
    with pytest.raises(TypeError, match="depends on sizes"):
        _ = Cost(dims.parse("s")).seconds(target)


def test_the_largest_cost_over_a_region() -> None:
    region = Region.of(("b", "s"), [Comparison.parse("s <= 10")])
    assert Cost(flops=dims.parse("s*s"), bytes=3).largest(region) == Cost(100, 3)
    assert Cost(flops=dims.parse("b*s")).largest(region) is None


def test_text() -> None:
    cost = Cost(dims.parse("2*s"), 1024, 3, ("model.py:7 (loop)",))
    assert str(cost) == (
        "2*s flops, 1,024 bytes, with one iteration of each loop at model.py:7 (loop)"
    )
    assert repr(cost) == "Cost(2*s flops, 1,024 bytes, 3 transcendentals, 1 loops once)"


def test_repr_is_short() -> None:
    long = dims.normalise(sum(dims.parse(f"b*s**{k}") for k in range(1, 40)))
    assert len(str(Cost(long, long, long))) > 500
    assert len(repr(Cost(long, long, long))) < 250
