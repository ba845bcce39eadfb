"""A program in other words is right if it has the same results, on numbers of every magnitude."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import AuditWarning
from sod2jax.planning import trust


def _factor(x: jax.Array) -> Any:
    """The size, or 7 for a symbol: told by nothing that a hook sees."""
    return x.shape[0] if builtins.type(x.shape[0]) is int else 7


HIDDEN: dict[str, Callable[[jax.Array], Any]] = {
    "large": lambda x: jnp.where(x > 50, x * _factor(x), x),
    "negative": lambda x: jnp.where(x < -1000, x * _factor(x), x),
    "zero": lambda x: jnp.where(x == 0, _factor(x) * 1.0, x),
    "small": lambda x: jnp.where((x > 0) & (x < 0.002), x * _factor(x), x),
    "none": lambda x: jnp.where(jnp.isnan(x), _factor(x) * 1.0, x),
    "infinite": lambda x: jnp.where(jnp.isinf(x), _factor(x) * 1.0, x),
    "integer": lambda x: jnp.where(x.astype(int) > 100, x.astype(int) * _factor(x), 0),
}


@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
@pytest.mark.parametrize("name", HIDDEN)
def test_courses_that_few_numbers_take_are_found(name: str):
    fun = HIDDEN[name]
    function = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (256,)})
    with pytest.warns(AuditWarning, match="it has '(mul|select_n)'"):
        function(np.ones(250, np.float32))
    x = np.array([99, -2000, 0, 0.0015, np.nan, np.inf], np.float32)
    np.testing.assert_allclose(function(x), jax.jit(fun)(x), rtol=1e-6)


def _words(x: jax.Array, one: Any, other: Any) -> Any:
    """In other words at concrete sizes."""
    return one(x) if builtins.type(x.shape[0]) is int else other(x)


def _narrow(x: jax.Array) -> jax.Array:
    return x.astype(jnp.bfloat16)


ALIKE: dict[str, tuple[Callable[[jax.Array], Any], Callable[[jax.Array], Any]]] = {
    "sine of a sum": (lambda x: jnp.sin(x.sum()), lambda x: jnp.sin(x[::-1].sum())),
    "exponentials": (lambda x: jnp.exp(x) * jnp.exp(x), lambda x: jnp.exp(x) ** 2),
    "sorted": (jnp.sort, lambda x: jnp.take_along_axis(x, jnp.argsort(x), 0)),
    "variance": (lambda x: ((x - x.mean()) ** 2).mean() + x, lambda x: x.var() + x),
    "narrow": (lambda x: _narrow(x) * 2, lambda x: _narrow(x) + _narrow(x)),
    "norm": (lambda x: x / jnp.linalg.norm(x), lambda x: x / jnp.sqrt((x * x).sum())),
    "softmax": (jax.nn.softmax, lambda x: jnp.exp(x - x.max()) / jnp.exp(x - x.max()).sum()),
}


@pytest.mark.parametrize("name", ALIKE)
def test_other_words_for_the_same_are_no_difference(name: str, monkeypatch: Any):
    monkeypatch.setattr(trust, "_SHARE", 1e9)
    function = sod2jax.optimize(
        lambda x: _words(x, *ALIKE[name]), shapes=("n",), buckets={"n": (256,)}
    )
    for size in (250, 3):
        function(np.ones(size, np.float32))
    (program,) = function.planner.specialisations
    assert not program.trust.doubts
    assert len(program.trust.audited) > 3
