"""Random chains of operations on random shapes equal plain ``jax.jit``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from tests.harnesses import Arg, Harness, check

Op = Callable[[jax.Array, int], jax.Array]


def _matmul_with_itself(x: jax.Array, axis: int) -> jax.Array:
    moved = jnp.moveaxis(x, axis, -1)
    return lax.dot_general(moved, moved, (((x.ndim - 1,), (x.ndim - 1,)), ((), ())))


def _windows(x: jax.Array, axis: int) -> jax.Array:
    window = [3 if k == axis else 1 for k in range(x.ndim)]
    return lax.reduce_window(x, -jnp.inf, lax.max, window, [1] * x.ndim, "SAME")


def _gather_last(x: jax.Array, axis: int) -> jax.Array:
    last = jnp.arange(x.shape[axis])[::-1]
    return jnp.take(x, last, axis=axis)


OPS: dict[str, Op] = {
    "tanh": lambda x, axis: jnp.tanh(x),
    "relu": lambda x, axis: jax.nn.relu(x),
    "select": lambda x, axis: jnp.where(x > 0.1, x, -0.5),
    "softmax": lambda x, axis: jax.nn.softmax(x, axis=axis),
    "normalise": lambda x, axis: x - x.mean(axis, keepdims=True),
    "logsumexp": lambda x, axis: jax.nn.logsumexp(x, axis=axis, keepdims=True),
    "sum": lambda x, axis: x.sum(axis),
    "mean": lambda x, axis: x.mean(axis),
    "max": lambda x, axis: x.max(axis),
    "cumsum": lambda x, axis: lax.cumsum(x, axis),
    "cumsum_reverse": lambda x, axis: lax.cumsum(x, axis, reverse=True),
    "cummax": lambda x, axis: lax.cummax(x, axis),
    "sort": lambda x, axis: lax.sort(x, axis),
    "reverse": lambda x, axis: lax.rev(x, (axis,)),
    "gather": _gather_last,
    "roll": lambda x, axis: jnp.roll(x, 1, axis),
    "double": lambda x, axis: jnp.concatenate([x, 2 * x], axis),
    "pad": lambda x, axis: jnp.pad(x, [(1, 2) if k == axis else (0, 0) for k in range(x.ndim)]),
    "stretch": lambda x, axis: jnp.repeat(x, 2, axis),
    "every_other": lambda x, axis: lax.slice_in_dim(x, 0, x.shape[axis], 2, axis),
    "merge": lambda x, axis: x.reshape(-1),
    "merge_tail": lambda x, axis: x.reshape(x.shape[0], -1),
    "move": lambda x, axis: jnp.moveaxis(x, axis, 0),
    "new_axis": lambda x, axis: jnp.expand_dims(x, axis),
    "windows": _windows,
    "matmul": _matmul_with_itself,
    "size": lambda x, axis: x / x.shape[axis],
    "first": lambda x, axis: lax.index_in_dim(x, 0, axis, keepdims=False),
}

steps = st.lists(st.tuples(st.sampled_from(sorted(OPS)), st.integers(0, 3)), min_size=1, max_size=6)
specs = st.sampled_from(["s", "b, s", "b, s, 3", "s, 2, b", "2*b, s"])


def chain(names: Sequence[tuple[str, int]]) -> Callable[[jax.Array], jax.Array]:
    """The function that does these operations in turn, each along one of the axes there are."""

    def fun(x: jax.Array) -> jax.Array:
        for name, axis in names:
            if x.ndim in (1, 2, 3):
                x = OPS[name](x, axis % x.ndim)
        return x

    return fun


@given(steps, specs, st.booleans())
def test_chains_equal_jit(names, spec, gradient):
    fun = chain(names)
    if gradient and all(name not in ("cummax", "windows", "sort", "max") for name, _ in names):
        value = fun
        fun = jax.grad(lambda x: (value(x) ** 2).mean())
    label = "-".join(name for name, _ in names)
    bucket = {"b": 3, "s": 5}
    check(Harness(label, fun, (Arg(spec, np.float32),), bucket, rtol=1e-4))
