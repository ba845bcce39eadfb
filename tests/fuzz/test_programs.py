"""Random programs over random shapes equal plain ``jax.jit``, padded and poisoned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.operations import OPERATIONS, Value
from tests.harnesses import Arg, Harness, check

Step = tuple[str, int, int, int]

# Where the derivative jumps, rounding may choose its side.
SMOOTH = frozenset(
    "negative double tanh decay logarithm reciprocal flip roll cumsum cumsum_reverse softmax "
    "log_softmax centre normalise cumprod cumlogsumexp by_size position noise dropout convolve "
    "total first last middle mean variance logsumexp product transpose merge repeat pad "
    "every_other front_half join contract outer window_sum".split()
)

steps = st.lists(
    st.tuples(
        st.sampled_from(sorted(OPERATIONS)), st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)
    ),
    min_size=2,
    max_size=9,
)
specs = st.sampled_from([("b, s", "s"), ("s", "b, s"), ("b, s, 2", "s, 2"), ("s, t", "t, s")])


def integers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Small integers, so that ties are common."""
    return rng.integers(-3, 4, shape)


def program(steps: Sequence[Step], specs: Sequence[str]) -> Callable[..., Any]:
    """The function that does these operations, each on earlier values; it returns the last few."""

    def fun(*arrays: Any) -> Any:
        labelled = zip(arrays, specs, strict=True)
        pool = [Value(x, tuple(spec.split(", ")), True) for x, spec in labelled]
        for name, first, second, k in steps:
            v, w = pool[-1 - first % len(pool)], pool[-1 - second % len(pool)]
            result = OPERATIONS[name](v, w, k)
            if result is not None and result.array.ndim <= 3:
                pool.append(result)
        return [value.array for value in pool[2:][-3:]]

    return fun


def check_program(steps: Sequence[Step], specs: Sequence[str], gradient: bool) -> None:
    fun = program(steps, specs)
    if gradient and all(name in SMOOTH for name, *_ in steps):
        outputs = fun

        def loss(*arrays: Any) -> Any:
            return sum((jnp.tanh(y) ** 2).mean() for y in outputs(*arrays))

        fun = jax.grad(lambda *arrays: loss(*arrays) + 0.0 * arrays[0].sum(), argnums=(0, 1))
    args = tuple(Arg(spec, np.float32, integers) for spec in specs)
    label = "-".join(name for name, *_ in steps)
    check(Harness(label, fun, args, {"b": 3, "s": 5, "t": 4}, rtol=1e-4, atol=1e-5))


@settings(max_examples=settings.default.max_examples // 2)  # each compiles a program
@given(steps, specs, st.booleans())
def test_programs_equal_jit(steps, specs, gradient):
    check_program(steps, specs, gradient)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(16))
def test_many_programs_equal_jit(number):
    """Ten minutes on two cores, all numbers together."""

    @seed(number)
    @settings(max_examples=60, deadline=None, derandomize=False, database=None)
    @given(steps, specs, st.booleans())
    def run(steps, specs, gradient):
        check_program(steps, specs, gradient)

    run()
