"""How often a ``while`` runs, where its condition and its step say so."""

from __future__ import annotations

import jax
import pytest
from jax import lax

from sod2jax import rdp
from sod2jax.cost import Counter
from sod2jax.cost.trips import trip_count
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from tests.cost.programs import S, symbolic
from tests.harnesses.base import Arg


def trips(fun) -> dims.Dim | None:
    """The trip count of the only loop of a function of f32[s]."""
    jaxpr = symbolic(fun, S)
    facts = rdp.analyse(jaxpr, Region.of(("s",), [Comparison.parse("s <= 64")]))
    (eqn,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "while"]
    return trip_count(eqn, facts.value_range)


def counted(low, high, step):
    """A loop that counts from ``low`` to below ``high``."""

    def fun(x):
        start, end = (lax.convert_element_type(v, "int32") for v in (low(x), high(x)))
        return lax.while_loop(lambda c: c[0] < end, lambda c: (c[0] + step, c[1] * 2), (start, x))

    return fun


@pytest.mark.parametrize(
    ("loop", "count"),
    [
        (counted(lambda x: 0, lambda x: 10, 1), 10),
        (counted(lambda x: 3, lambda x: 10, 4), 2),
        (counted(lambda x: 12, lambda x: 10, 1), 0),
        (counted(lambda x: 0, lambda x: x.shape[0], 1), "s"),
        (counted(lambda x: 2, lambda x: 3 * x.shape[0], 2), "floordiv(3*s - 1, 2)"),
    ],
    ids=["number", "step", "none", "size", "multiple"],
)
def test_a_counter_below_a_bound(loop, count: int | str) -> None:
    number = trips(loop)
    for s in (1, 2, 7, 64):
        expected = count if isinstance(count, int) else dims.evaluate(dims.parse(count), {"s": s})
        assert int(dims.evaluate(number, {"s": s})) == expected


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: lax.while_loop(lambda c: (c > 1).all(), lambda c: c * 0.5, x),
        lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] * 2, c[1]), (1, x)),
        lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] - 1, c[1]), (1, x)),
        lambda x: lax.while_loop(
            lambda c: c[0] < c[1], lambda c: (c[0] + 1, c[1] - 1), (0, x.shape[0])
        ),
    ],
    ids=["values", "factor", "down", "moving_bound"],
)
def test_other_loops_have_no_known_count(fun) -> None:
    assert trips(fun) is None


def test_a_while_with_a_known_trip_count() -> None:
    def powers(x: jax.Array) -> jax.Array:
        return lax.fori_loop(0, x.shape[0], lambda i, c: c @ c, x[:, :4].T @ x[:, :4])

    jaxpr = symbolic(powers, Arg("s, 4"))
    facts = rdp.analyse(jaxpr, Region.of(("s",), [Comparison.parse("s <= 64")]))
    cost = Counter(facts.value_range).jaxpr(jaxpr)
    assert not cost.assumed
    matmuls = 2 * 4 * 4 * 4
    for s in (1, 7, 64):
        assert s * matmuls <= cost.at({"s": s}).flops - s * 2 * 16 <= s * (matmuls + 4)
