"""Conds: which equations are, and that they can be built again."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax.ir.surgery import Copier
from sod2jax.passes.branches.conds import cond_of, has_cond, is_around_cond, is_plain, positions

X, Y, P = np.arange(3, dtype=np.float32), np.full(3, 5, np.float32), np.True_


def branching(p: Any, x: Any) -> Any:
    return lax.cond(p, jnp.sin, jnp.cos, x)


def test_where_conds_are() -> None:
    jaxpr = jax.make_jaxpr(lambda p, x: branching(p, x * 2) + branching(~p, x))(P, X)
    assert [jaxpr.eqns[at].primitive.name for at in positions(jaxpr.eqns)] == ["cond", "cond"]
    assert has_cond(jaxpr)
    assert not has_cond(jax.make_jaxpr(jnp.sin)(X))


def test_a_choice_of_platform_is_no_cond() -> None:
    jaxpr = jax.make_jaxpr(
        lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.cos)  # type: ignore[arg-type]
    )(X)
    assert not has_cond(jaxpr)


def test_calls_with_a_cond_directly_inside() -> None:
    def looped(p: Any, x: Any) -> Any:
        return lax.fori_loop(0, 3, lambda k, y: branching(p, y), x)

    def opens(fun: Any) -> bool:
        (eqn,) = jax.make_jaxpr(jax.jit(fun))(P, X).eqns
        return is_around_cond(eqn)

    assert opens(branching) and opens(lambda p, x: jax.jit(branching)(p, x) * 2)
    assert not opens(looped) and not opens(lambda p, x: jnp.where(p, x, 0))


def test_effects_forbid_rebuilding() -> None:
    def printing(x: Any) -> Any:
        jax.debug.print("{}", x.sum())
        return x

    plain, printed = (
        jax.make_jaxpr(lambda p, x, f=f: lax.cond(p, f, jnp.cos, x))(P, X).eqns[-1]
        for f in (jnp.sin, printing)
    )
    assert is_plain(plain) and not is_plain(printed)


def test_a_cond_again_without_what_no_branch_needs() -> None:
    def fun(p: Any, x: Any, y: Any) -> Any:
        return lax.cond(p, lambda a, b: (a + 1, b), lambda a, b: (jnp.sin(a) * 0 + b, a), x, y)

    jaxpr = jax.make_jaxpr(fun)(P, X, Y)
    *before, cond = jaxpr.eqns
    copier, (index, *operands) = Copier(), cond.invars
    branches = [copier.body(branch, operands, cond) for branch in cond.params["branches"]]
    first = [(eqns, outs[:1]) for eqns, outs in branches]
    (result,) = (_compat.new_variable(var.aval) for var in cond.outvars[:1])
    again = cond_of(index, operands, first, [result], like=cond)
    rebuilt = _compat.with_equations(jaxpr, [*before, again], [result])
    for p in (np.True_, np.False_):
        (out,) = jax.core.eval_jaxpr(rebuilt, [], p, X, Y)  # type: ignore[arg-type]
        np.testing.assert_array_equal(out, fun(p, X, Y)[0])

    second = cond_of(index, operands, [([], operands[1:]), ([], operands[1:])], [result], cond)
    assert second.invars == [index, operands[1]]
