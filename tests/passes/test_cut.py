"""Cuts: where they go, what each part reads, and that they are worth it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax import rdp
from sod2jax.buckets.choose import choose
from sod2jax.passes import cut
from tests.runtime.test_parts import positive, vector


def program(fun, **options):
    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 64",), **options)
    return f.analyse(vector(3)).program


def pieces(p, names=None):
    facts = rdp.analyse_program(p)
    ladders = choose(p.region.restricted(p.symbols), {}, 8)
    return cut.cut(p, facts, ladders, p.data_dependent if names is None else names, 8)


def chained(x):
    y = positive(x)
    z = positive(1.5 - y)
    return z * 2, x.sum()


def test_one_cut_for_each_depth():
    p = program(chained)
    parts = pieces(p)
    assert [part.program.computed_dims for part in parts] == [
        p.computed_dims[:1],
        p.computed_dims[1:],
        (),
    ]
    assert [part.program.symbols for part in parts] == [("n",), ("k_0", "n"), ("k_0", "k_1")]


def test_parts_read_what_earlier_ones_make():
    p = program(chained)
    known = set(p.jaxpr.invars)
    for part in pieces(p):
        assert set(part.inputs) <= known
        known |= set(part.outputs)
    assert {v for v in p.jaxpr.outvars[: -len(p.computed_dims)]} <= known


def test_what_is_not_cut_stays_in_its_part():
    p = program(chained)
    parts = pieces(p, ["k_1"])
    assert [part.program.data_dependent for part in parts] == [{"k_0", "k_1"}, frozenset()]


def test_constants_go_where_they_are_used():
    table = jnp.arange(12.0).reshape(3, 4)
    p = program(lambda x: (positive(x)[:, None] * table[:1], x[:1] + table[0, 0]))
    first, second = pieces(p)
    assert [c.shape for c in (*first.program.constants, *second.program.constants)].count(
        (3, 4)
    ) >= 1
    assert len(first.program.constants) + len(second.program.constants) <= 2 * len(p.constants)


@pytest.mark.parametrize(("width", "decision"), [(1, "carried"), (512, "cut where")])
def test_auto_cuts_where_it_saves_more_than_it_costs(width, decision):
    weights = jnp.ones((width, width))

    def fun(x):
        y = positive(x)[:, None] * jnp.ones((1, width))
        for _ in range(4):
            y = jnp.tanh(y @ weights)
        return y.sum()

    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 512",))
    remarks = f.analyse(vector(3)).remarks
    assert remarks and all(remark.what.startswith(decision) for remark in remarks)


def test_buckets_that_no_call_can_need_are_not_compiled():
    f = sod2jax.optimize(
        lambda x: jnp.outer(positive(x), x), shapes=("n",), buckets={"n": (4, 64)}, cut="always"
    ).compile(vector(3))
    (made,) = f.planner.specialisations
    second = [dict(e.bucket) for e in made.parts[1].ready]
    assert {b["n"] for b in second} == {4, 64}
    assert len([b for b in second if b["n"] == 4]) < len([b for b in second if b["n"] == 64])
    assert jax.tree.map(np.shape, f(vector(2, 4))) == (2, 4)
