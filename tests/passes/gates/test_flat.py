"""What is inlined around a gate, and which selects choose nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax import _compat
from sod2jax.passes.gates.flat import flat

GATE, X, M = np.ones(3, bool), np.ones((3, 4), np.float32), np.ones((4, 4), np.float32)


def flattened(fun: Callable[..., Any], *args: Any) -> tuple[Any, list[str]]:
    """A jaxpr made flat, and the names of its primitives."""
    jaxpr = jax.make_jaxpr(fun)(*args)
    eqns, outvars = flat(jaxpr)
    return _compat.with_equations(jaxpr, eqns, outvars), [eqn.primitive.name for eqn in eqns]


def where(gate: Any, x: Any, y: Any) -> Any:
    return jnp.where(gate[:, None], x, y)


def test_the_call_around_a_where_is_inlined() -> None:
    _, names = flattened(lambda g, x: where(g, jnp.sin(x), x), GATE, X)
    assert "jit" not in names and names[-1] == "select_n"


def test_calls_around_heavy_work_are_inlined_however_deep() -> None:
    def layer(x: Any, m: Any) -> Any:
        return jax.jit(jnp.matmul)(jnp.sin(x), m)

    _, names = flattened(jax.jit(layer), X, M)
    assert names == ["sin", "dot_general"]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: jax.jit(jnp.sin)(x) + 1,
        lambda x: jax.checkpoint(lambda y: jnp.sin(y @ M))(x),
        lambda x: lax.scan(lambda c, v: (c @ M, None), x, X)[0],
    ],
)
def test_other_calls_and_loops_stay(call: Callable[..., Any]) -> None:
    jaxpr = jax.make_jaxpr(call)(X)
    eqns, outvars = flat(jaxpr)
    assert eqns == list(jaxpr.eqns) and outvars == list(jaxpr.outvars)


def test_a_select_among_equals_is_what_they_are() -> None:
    def fun(g: Any, x: Any) -> Any:
        y = jnp.sin(x)
        return where(g, y, lax.optimization_barrier(x) * 0 + y) + where(g, y, y) + where(g, y, x)

    made, names = flattened(fun, GATE, X)
    assert names.count("select_n") == 2
    plain = getattr(made, "jaxpr", made)
    (seen,) = jax.core.eval_jaxpr(plain, _compat.constants(made), GATE, X)  # type: ignore[attr-defined]
    np.testing.assert_allclose(seen, fun(GATE, X), rtol=1e-6)


def test_a_copy_is_equal_to_what_it_copies() -> None:
    def fun(g: Any, x: Any) -> Any:
        return where(g, lax.copy_p.bind(lax.copy_p.bind(x)), x) + 1

    _, names = flattened(fun, GATE, X)
    assert names == ["add"]
