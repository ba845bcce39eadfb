from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sod2jax.errors import InvariantError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.rdp.lanes import DEAD, Demand, Flow
from sod2jax.rdp.lattice import NAC, UNDEF, DimFact, Element, ShapeFact, lift
from sod2jax.rdp.values import NAC_VALUE, UNDEF_VALUE, Range, ValueFact, at_most, greatest, least

REGION = Region.of(("b", "s"), map(Comparison.parse, ("b <= 4", "s <= 7")))
DIMS = [
    dims.parse(t)
    for t in ("0", "1", "3", "b", "s", "2*s", "b*s", "s - 1", "b + s", "floordiv(s, 2)")
]

constants = st.sampled_from(DIMS)
dim_facts = st.one_of(st.sampled_from([UNDEF, NAC]), constants.map(DimFact.of))
shape_facts = st.one_of(
    st.sampled_from([ShapeFact(Element.UNDEF), ShapeFact(Element.NAC)]),
    st.lists(dim_facts, max_size=3).map(lambda facts: ShapeFact(tuple(facts))),
)


@st.composite
def ranges(draw):
    a, b = draw(constants), draw(constants)
    return Range(least((a, b), REGION), greatest((a, b), REGION))


element_lists = st.lists(st.one_of(st.none(), ranges()), min_size=2, max_size=2)
value_facts = st.one_of(
    st.sampled_from([UNDEF_VALUE, NAC_VALUE]),
    ranges().map(lambda r: ValueFact.of(r, np.int32, REGION)),
    element_lists.map(lambda found: ValueFact.of_elements(found, np.int32, REGION)),
)
lanes = st.frozensets(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=4)


@st.composite
def flows(draw):
    inputs = draw(st.frozensets(st.integers(0, 2)))
    axes = draw(st.tuples(lanes, lanes))
    return Flow(inputs, tuple(frozenset(x for x in a if x[0] in inputs) for a in axes))


parts = st.one_of(st.none(), st.tuples(st.sampled_from([0, 1]), st.sampled_from(DIMS[3:6])))
demands = st.one_of(st.just(DEAD), st.tuples(parts, parts).map(Demand))


def meet(a, b):
    return a.meet(b, REGION) if isinstance(a, (ValueFact, Demand)) else a.meet(b)


LATTICES = {
    "dim": (dim_facts, UNDEF, NAC),
    "shape": (shape_facts, ShapeFact(Element.UNDEF), ShapeFact(Element.NAC)),
    "value": (value_facts, UNDEF_VALUE, NAC_VALUE),
    "flow": (flows(), Flow.constant(2), Flow(frozenset(range(3)), (frozenset(),) * 2)),
    "demand": (demands, DEAD, Demand.whole(2)),
}


@pytest.fixture(params=LATTICES, ids=str, scope="module")
def lattice(request):
    return LATTICES[request.param]


@given(data=st.data())
def test_meet_is_commutative_associative_and_idempotent(lattice, data):
    facts, *_ = lattice
    a, b, c = (data.draw(facts) for _ in range(3))
    assert meet(a, b) == meet(b, a)
    assert meet(a, meet(b, c)) == meet(meet(a, b), c)
    assert meet(a, a) == a


@given(data=st.data())
def test_top_is_neutral_and_bottom_absorbs(lattice, data):
    facts, top, bottom = lattice
    a = data.draw(facts)
    assert meet(top, a) == a
    assert meet(bottom, a) == bottom


@given(data=st.data(), name=st.sampled_from(["dim", "shape"]))
def test_order_agrees_with_meet(data, name):
    facts, top, bottom = LATTICES[name]
    a, b = data.draw(facts), data.draw(facts)
    assert (a <= b) == (a.meet(b) == a)
    assert a.meet(b) <= a and a.meet(b) <= b
    assert bottom <= a <= top


@given(data=st.data(), name=st.sampled_from(["dim", "shape"]))
def test_refine_fills_undef_and_loses_nothing(data, name):
    facts, top, _ = LATTICES[name]
    a, b = data.draw(facts), data.draw(facts)
    try:
        refined = a.refine(b)
    except InvariantError:
        assert not a <= b and not b <= a
        return
    assert refined <= a
    assert top.refine(a) == a == a.refine(a) == a.refine(top)
    if name == "dim" and a != UNDEF:
        assert refined == a


@given(a=constants, b=constants)
def test_refine_reports_a_conflict(a, b):
    if a == b:
        return
    with pytest.raises(InvariantError, match="inferred"):
        DimFact.of(a).refine(DimFact.of(b))


def test_equality_is_modulo_canonical_form():
    s = dims.symbol("s")
    assert DimFact.of(2 * (s + 1)).meet(DimFact.of(2 * s + 2)) == DimFact.of(2 + 2 * s)


def test_lift_computes_on_constants_only():
    three = DimFact.of(3)
    assert lift(lambda a, b: a + b, three, three) == DimFact.of(6)
    assert lift(lambda a, b: a + b, three, UNDEF) == UNDEF
    assert lift(lambda a, b: a + b, NAC, UNDEF) == NAC


def test_shapes_of_different_rank():
    a, b = ShapeFact.of((1, 2)), ShapeFact.of((1,))
    assert a.meet(b) == ShapeFact(Element.NAC)
    assert a.rank == DimFact.of(2) and a.meet(b).rank == NAC
    with pytest.raises(InvariantError, match="shape"):
        a.refine(b)


@given(a=constants, b=constants, size_b=st.integers(1, 4), size_s=st.integers(1, 7))
def test_least_and_greatest_bound_at_every_size(a, b, size_b, size_s):
    sizes = {"b": size_b, "s": size_s}
    x, y = dims.evaluate(a, sizes), dims.evaluate(b, sizes)
    assert dims.evaluate(least((a, b), REGION), sizes) == min(x, y)
    assert dims.evaluate(greatest((a, b), REGION), sizes) == max(x, y)
    if at_most(a, b, REGION):
        assert x <= y


def test_ranges_that_may_wrap_around_are_nac():
    s = dims.symbol("s")
    assert ValueFact.of(Range(0, 20 * s), np.int8, REGION) == NAC_VALUE
    assert ValueFact.of(Range(-1, s), np.uint8, REGION) == NAC_VALUE
    assert ValueFact.of(Range(0, s), np.int8, REGION).every == Range(0, s)


def test_the_whole_range_of_a_type_is_nac():
    assert ValueFact.of(Range(0, 1), np.bool_, REGION) == NAC_VALUE
    assert ValueFact.of(Range(0, 255), jnp.uint8, REGION) == NAC_VALUE


def test_elements_are_kept_one_by_one():
    s = dims.symbol("s")
    fact = ValueFact.of_elements([Range.point(s), None, Range(0, 2)], np.int32, REGION)
    assert fact.every is Element.NAC


def test_huge_expressions_become_numbers():
    s, b = dims.symbol("s"), dims.symbol("b")
    polynomial = dims.normalise((s + b) ** 9)
    found = ValueFact.of(Range(0, polynomial), np.int64, REGION)
    assert found.every == Range(0, 11**9)


def test_join_needs_every_operand_that_carries_the_input():
    x, y = Flow.source(0, 2), Flow.source(1, 1)
    joined = Flow.join(2, [(x, (0, 1)), (y, (1,))])
    assert joined.axes == ({(0, 0)}, {(0, 1), (1, 0)})
    mixed = Flow.join(2, [(joined, (0, 1)), (x, (1, 0))])
    assert mixed.axes == (frozenset(), {(1, 0)})


def test_demand_through_places():
    s = dims.symbol("s")
    assert Demand(((0, s), None)).through((None, 0)) == Demand((None, (0, s)))
    assert DEAD.through((0,)).is_dead
    assert str(Demand((None, (0, s)))) == "[:, 0:s]"
