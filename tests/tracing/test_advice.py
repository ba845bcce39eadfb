"""What can help depends on what went wrong."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import TraceError
from sod2jax.tracing.regimes import base
from sod2jax.tracing.trace import trace


def message(fun, spec="n", constraints=()):
    options = {"shapes": (spec,), "constraints": constraints, "on_unsupported": "error"}
    f = sod2jax.optimize(fun, **options)
    leaves = f.planner.base(f.planner.read((np.ones(6, np.float32),), {}))[0].leaves
    regime = base(leaves, f.options.constraints)
    with pytest.raises(TraceError) as caught:
        traced = trace(fun, (0,), regime, "fun")
        raise traced.error
    return str(caught.value)


TABLE = {k: float(k) for k in range(9)} | {f"layer_{k}": float(k) for k in range(9)}


def of_rows(x):
    return [row * 2 for row in x]


CASES = {
    "value decides": (lambda x: x if x.sum() > 0 else -x, "jnp.where or jax.lax.cond"),
    "value as a size": (lambda x: x[x > 0], "sod2jax.numpy"),
    "loop": (lambda x: [x for _ in range(x.shape[0])], "jax.lax.fori_loop"),
    "member": (lambda x: x * 2 if 4 in range(x.shape[0]) else x, "write 0 <= k < n"),
    "rows": (of_rows, "jax.vmap or jax.lax.scan"),
    "list": (lambda x: list(x), "jax.vmap or jax.lax.scan"),
    "unstack": (lambda x: jnp.unstack(x)[0], "jax.vmap or jax.lax.scan"),
    "root": (lambda x: x.reshape(int(x.shape[0] ** 0.5), -1), "the spec 's*s'"),
    "share": (lambda x: x[: int(0.1 * x.shape[0])], "n // 10"),
    "float": (lambda x: x * float(x.shape[0]), "leave out float()"),
    "text": (lambda x: x * TABLE[f"layer_{x.shape[0]}"], "jnp.take"),
    "key": (lambda x: x * TABLE[x.shape[0]], "jnp.take"),
    "element": (lambda x: x * x[0].item(), "the number that an array holds is not known"),
    "random": (lambda x: x + np.random.default_rng(0).normal(size=x.shape), "jax.random"),
    "shapes": (lambda x: x + jnp.ones(7), "give axes that must be equal one symbol"),
}


@pytest.mark.parametrize(("fun", "advice"), CASES.values(), ids=CASES)
def test_advice_fits_the_error(fun, advice):
    text = message(fun)
    assert advice in text
    assert f"at {__file__}" in text
    others = {other for _, other in CASES.values() if other != advice}
    if advice.startswith("the number that"):  # which may be a size
        others -= {"sod2jax.numpy"}
    assert not [other for other in others if other in text]
    assert "_DimExpr" not in text
    assert ".." not in text.split("What can help")[1]


@pytest.mark.parametrize("fun", [lambda x: x.foo(), lambda x: jnp.sume(x)], ids=["method", "name"])
def test_a_bug_of_the_function_needs_no_advice(fun):
    assert "What can help" not in message(fun)
    for options in ({}, {"shapes": ("n",)}, {"shapes": ("n",), "on_unsupported": "error"}):
        optimized = sod2jax.optimize(fun, **options)
        for size in (3, 4):  # without a warning, which is an error here
            with pytest.raises(AttributeError):
                optimized(np.ones(size, np.float32))
        assert optimized.stats().exact_fallbacks == 0
    with pytest.raises(AttributeError):
        jax.jit(fun)(np.ones(3, np.float32))


def test_bounds_are_proposed_where_there_are_none():
    def fun(x):
        return x + jnp.ones(7)

    assert "bound the size, by constraints=('n <= 512',)" in message(fun)
    assert "bound the size" not in message(fun, constraints=("n <= 9",))
