"""Numbers made of sizes that 32 bits do not hold: errors where ``jax.jit`` raises one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax

Fun = Callable[[jax.Array], Any]
SIZES = (5, 16, 1, 12, 8, 3)


def caught(x):
    try:
        return x * x.shape[0] ** 9
    except OverflowError:
        return -x


def unread(x):
    _ = x * x.shape[0] ** 9
    return x * 2


FUNS: dict[str, Fun] = {
    "added": lambda x: x + x.shape[0] ** 9,
    "selected": lambda x: jnp.where(x > 0, x.shape[0] ** 10, 0),
    "compared": lambda x: x < x.shape[0] ** 10,
    "negative": lambda x: x * (-(x.shape[0]) * 10**9),
    "constant": lambda x: jnp.asarray(x.shape[0] + 2**31 - 6),
    "caught": caught,
    "unread": unread,
    "shifted": lambda x: x * (1 << (x.shape[0] + 26)),
    "chosen": lambda x: x * math.comb(40, x.shape[0]),
    "remainder": lambda x: x * (x.shape[0] ** 11 % 7),
    "quotient": lambda x: x * (x.shape[0] ** 9 // 10**6),
    "smaller": lambda x: x * min(x.shape[0] ** 9, 1000),
    "of_a_shape": lambda x: jnp.zeros(x.shape[0] ** 11 % 7 + 1) + x[0],
    "float": lambda x: x * (x.shape[0] ** 9 * 0.5),
    "root": lambda x: x * np.sqrt(x.shape[0] ** 9),
    "asked": lambda x: x * 2 if x.shape[0] ** 9 > 10**10 else -x,
    "divided": lambda x: x / x.shape[0] ** 7,
}


def outcome(fun: Fun, x: np.ndarray) -> Any:
    try:
        return fun(x)
    except OverflowError:
        return OverflowError


@pytest.mark.parametrize("name", FUNS)
@pytest.mark.parametrize("specs", [(), ("n",)], ids=["bare", "specs"])
@pytest.mark.filterwarnings("ignore::sod2jax.errors.ExactFallbackWarning")
def test_as_under_jit(name, specs):
    fun = FUNS[name]
    constraints = ("n <= 20",) if specs else ()
    f = sod2jax.optimize(fun, shapes=specs or None, constraints=constraints, poison=True)
    for size in SIZES:
        x = np.linspace(-1, 2, size, dtype=np.float32)
        got, want = outcome(f, x), outcome(jax.jit(fun), x)
        if want is OverflowError or got is OverflowError:
            assert got is want, size
            continue
        assert (got.shape, got.dtype, got.weak_type) == (want.shape, want.dtype, want.weak_type)
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_with_64_bits():
    def fun(x):
        return x * x.shape[0] ** 9

    with jax.enable_x64(True):
        f = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 20",))
        for size in SIZES:
            x = np.linspace(-1, 2, size)
            np.testing.assert_allclose(f(x), jax.jit(fun)(x), rtol=1e-12)


def test_common_numbers_need_no_guard():
    f = sod2jax.optimize(lambda x: x / x.shape[0] + x.shape[0] * 2 - x.mean())
    for size in SIZES[:3]:
        f(np.ones(size, np.float32))
    (*_, found) = f.planner.specialisations
    assert not found.analysis.program.guards
