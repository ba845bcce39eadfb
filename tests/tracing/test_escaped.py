"""What is left of a trace in Python state is refused, with the line, when another trace uses it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
import sod2jax.numpy as snp
from sod2jax.errors import ExactFallbackWarning, StateError


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
    with pytest.raises(StateError, match=r"the size '.*n.*' in fun is used .*test_escaped"):
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


def _stored(fun: Callable[[jax.Array], Any]) -> Any:
    """What one trace leaves of ``fun(x)``."""
    kept = []

    def storing(x: jax.Array) -> jax.Array:
        kept.append(fun(x))
        return x * 2

    options: dict[str, Any] = {"shapes": ("n",), "constraints": ("n <= 9",), "audit": False}
    assert sod2jax.optimize(storing, **options)(np.ones(4, np.float32)).shape == (4,)
    return kept[0]


NUMBERS: dict[str, Callable[[jax.Array], Any]] = {
    "half": lambda x: x.shape[0] * 0.5,
    "root": lambda x: math.sqrt(x.shape[0]),
    "numpy": lambda x: np.log(x.shape[0]),
    "array": lambda x: np.arange(x.shape[0]),
}
READERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "bool": bool,
    "round": round,
    "product": lambda v: v * 2,
    "numpy": lambda v: np.ones(4) * v,
    "jax": lambda v: jnp.ones(4) * v,
    "jitted": lambda v: jax.jit(lambda x: x * v)(np.ones(4)),
    "array": np.asarray,
    "equal": lambda v: v == 2,
    "hash": hash,
    "shape": lambda v: v.shape,
    "format": lambda v: f"{v:.2f}",
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_of_a_trace_that_is_over_is_refused(name):
    left = _stored(NUMBERS[name])
    assert "test_escaped.py" in f"{left}"
    for read in READERS.values():
        with pytest.raises(StateError, match=r"test_escaped.* is used outside of its trace"):
            read(left)


NUMBER_USES: dict[str, Callable[[Any, jax.Array], Any]] = {
    "product": lambda kept, x: x * kept,
    "float": lambda kept, x: x * float(kept),
    "decision": lambda kept, x: x if kept > 1 else -x,
    "inner": lambda kept, x: lax.scan(lambda c, v: (c, v * kept), 0, x)[1],
}


@pytest.mark.parametrize("audit", [False, True])
@pytest.mark.parametrize("name", NUMBER_USES)
@pytest.mark.filterwarnings("ignore::sod2jax.errors.AuditWarning")
def test_a_number_of_an_earlier_trace_is_refused(name, audit):
    left = _stored(lambda x: x.shape[0] ** -0.5)
    fun = lambda x: NUMBER_USES[name](left, x)  # noqa: E731
    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",), audit=audit)
    with pytest.raises(StateError, match="is used outside of its trace"):
        f(np.ones(3, np.float32))


SIZE_USES: dict[str, Callable[[Any, jax.Array], Any]] = {
    "order": lambda size, x: x if size > 6 else -x,
    "float": lambda size, x: x * (size * 0.5),
    "integer": lambda size, x: x[: math.ceil(size * 1.5)],
    "root": lambda size, x: x / math.sqrt(size),
}


@pytest.mark.parametrize("name", SIZE_USES)
def test_what_is_made_of_a_size_of_an_earlier_trace_is_refused(name):
    left = _stored(lambda x: x.shape[0])
    options: dict[str, Any] = {"shapes": ("n",), "constraints": ("n <= 9",)}
    f = sod2jax.optimize(lambda x: SIZE_USES[name](left, x), **options)
    with pytest.raises(StateError, match="the size 'n' is used outside of its trace"):
        f(np.ones(3, np.float32))


def test_who_catches_the_error_does_not_go_on():
    left = _stored(lambda x: x.shape[0] * 0.5)

    def fun(x: jax.Array) -> Any:
        try:
            return x * left
        except Exception:
            return x * 7

    f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",))
    with pytest.raises(StateError):
        f(np.ones(3, np.float32))


def _longest(kept: Remembering, x: jax.Array) -> Any:
    kept.length = max(kept.length or 0, x.shape[0])
    return x * jnp.arange(kept.length)[: x.shape[0]]


def _before(kept: Remembering, x: jax.Array) -> Any:
    before, kept.length = kept.length, x.shape[0]
    return x if before is None else x * before


def _looped(kept: Remembering, x: jax.Array) -> Any:
    before, kept.length = kept.length, x.shape[0]
    return sum((x for _ in range(before or 1)), x)


@pytest.mark.parametrize("options", [{}, {"shapes": ("n",), "constraints": ("n <= 40",)}])
@pytest.mark.parametrize("use", [_longest, _before, _looped])
def test_a_trace_at_concrete_sizes_refuses_them_too(use: Any, options: dict[str, Any]):
    kept = Remembering()
    function = sod2jax.optimize(lambda x: use(kept, x), **options)
    where = rf"size.* in .* at .*test_escaped.*\({use.__name__}\)"
    with pytest.raises(StateError, match=where):
        for size in (3, 5, 7, 2):
            function(np.ones(size, np.float32))


def test_errors_of_its_own_are_what_they_are():
    def fun(x: jax.Array) -> jax.Array:
        if str(x.shape[0]) == "3":
            raise KeyError("three")
        return x

    function = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 9",))
    function(np.ones(4, np.float32))
    with pytest.raises(KeyError, match="three"):
        function(np.ones(3, np.float32))


def test_the_text_of_a_size_that_values_make_is_that_of_its_number():
    def fun(x: jax.Array) -> jax.Array:
        kept = snp.compress(x > 2, x)
        return kept * {"3": 2.0}.get(f"{kept.shape[0]}", 1.0)

    for options in ({}, {"shapes": ("n",), "constraints": ("n <= 9",)}):
        function = sod2jax.optimize(fun, **options)
        with pytest.warns(ExactFallbackWarning):
            np.testing.assert_array_equal(function(np.arange(6, dtype=np.float32)), [6, 8, 10])
            np.testing.assert_array_equal(function(np.arange(5, dtype=np.float32)), [3, 4])
