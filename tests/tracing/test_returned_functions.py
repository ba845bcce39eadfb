"""Functions in the static part of a result: the sizes that they close over are true numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import sod2jax
from sod2jax.errors import ExactFallbackWarning

Partial = jax.tree_util.Partial


def moved(x: Any, shift: Any) -> Any:
    """What results call."""
    return x + shift


def closed(x: Any) -> Any:
    """Returns a function of its own."""
    half = x.shape[0] // 2
    return Partial(lambda y: y * half, x)


RETURNED: dict[str, Callable[[Any], Any]] = {
    "partial": lambda x: Partial(functools.partial(moved, shift=x.shape[0] // 2), x),
    "number": lambda x: Partial(functools.partial(moved, shift=0.5 * x.shape[0]), x),
    "closure": closed,
    "without_sizes": lambda x: Partial(functools.partial(moved, shift=3), 2 * x),
    "inside": lambda x: {"f": [Partial(functools.partial(moved, shift=x.shape), x.sum())]},
}


@pytest.mark.parametrize("shapes", [("n",), None])
@pytest.mark.parametrize("name", RETURNED)
def test_returned_functions_have_true_numbers(name: str, shapes: Any) -> None:
    fun = RETURNED[name]
    optimized = sod2jax.optimize(fun, shapes=shapes)
    for size in (4, 1, 7, 9):
        x = np.arange(size, dtype=np.float32)
        got, want = optimized(x), jax.jit(fun)(x)
        if name == "inside":
            got, want = got["f"][0], want["f"][0]
            assert got.func.keywords == want.func.keywords == {"shift": (size,)}
        else:
            np.testing.assert_allclose(got(), want())
    assert optimized.stats().exact_fallbacks == 0
    assert optimized.stats().traces <= 2


class Holder:
    """Holds what may change."""

    def __init__(self, size: Any):
        self.size = size


def test_sizes_in_what_may_change_are_refused() -> None:
    def held(x: Any) -> Any:
        holder = Holder(x.shape[0])
        return Partial(functools.partial(moved, shift=holder), x)

    optimized = sod2jax.optimize(held, shapes=("n",))
    with pytest.warns(ExactFallbackWarning, match="which may change"):
        for size in (2, 3):
            assert optimized(np.ones(size, np.float32)).func.keywords["shift"].size == size
