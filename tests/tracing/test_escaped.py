"""What is left of a trace in Python state is refused, with the line, when another trace uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.errors import StateError


class Remembering:
    """Keeps the size of its first call."""

    length: Any = None

    def first(self, x: jax.Array) -> Any:
        if self.length is None:
            self.length = x.shape[0]
        return self.length


USES: dict[str, Callable[[Remembering, jax.Array], Any]] = {
    "number": lambda kept, x: x * kept.first(x),
    "shape": lambda kept, x: (x, jnp.zeros(kept.first(x))),
    "arithmetic": lambda kept, x: x / (2 * kept.first(x) + 1),
    "inner": lambda kept, x: lax.scan(lambda c, v: (c + kept.first(x), v), 0, x)[1],
    "jitted": lambda kept, x: jax.jit(lambda v: v * kept.first(x))(x),
}


@pytest.mark.parametrize("name", USES)
def test_a_size_of_an_earlier_trace_is_refused(name):
    kept = Remembering()

    def fun(x: jax.Array) -> Any:
        if x.shape[0] == 3:  # its own trace
            x = x + 1
        return USES[name](kept, x)

    function = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",), audit=False)
    x = np.arange(1.0, 5.0, dtype=np.float32)
    want = USES[name](Remembering(), jnp.asarray(x))
    for got, right in zip(jax.tree.leaves(function(x)), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-6)
    with pytest.raises(StateError, match=r"uses the size '.*n.*test_escaped\.py"):
        function(np.ones(3, np.float32))


def test_sizes_stored_anew_by_each_call_are_used():
    class Model:
        def __call__(self, x: jax.Array) -> jax.Array:
            self.length = x.shape[0]
            return self.scaled(x) if self.length != 3 else x

        def scaled(self, x: jax.Array) -> jax.Array:
            return x / self.length

    function = sod2jax.optimize(Model(), shapes=("n",), constraints=("n <= 9",), audit=False)
    for size in (4, 3, 9, 1):
        x = np.arange(1.0, size + 1, dtype=np.float32)
        np.testing.assert_allclose(function(x), Model()(jnp.asarray(x)), rtol=1e-6)
