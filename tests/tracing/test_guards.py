"""What tracing decides about sizes is recorded, and only what a user or a library decides."""

from __future__ import annotations

import threading
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import sod2jax
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import parse
from sod2jax.ir.region import Region
from sod2jax.tracing import guards

REGION = Region.of(["n", "m"], [Comparison.parse("n <= 9"), Comparison.parse("m <= 9")])


def record(fun: Callable, spec: str = "n, m") -> guards.Recorder:
    shape = export.symbolic_shape(spec, constraints=["n <= 9", "m <= 9"])
    with guards.recording(REGION) as recorder:
        jax.jit(fun).trace(jax.ShapeDtypeStruct(shape, np.float32))
    return recorder


@pytest.mark.parametrize(
    ("fun", "left", "right"),
    [
        (lambda x: x * 2 if x.shape[0] == 1 else x, "n", 1),
        (lambda x: x * 2 if x.shape[0] != 3 else x, "n", 3),
        (lambda x: x * 2 if x.shape[0] == x.shape[1] else x, "n", "m"),
        (lambda x: x * 2 if x.shape[0] % 2 else x, "mod(n, 2)", 0),
        (lambda x: x * ((x.shape[0] - 1) or 7), "n - 1", 0),
        (lambda x: x * 2 if x.shape[0] in (4,) else x, "n", 4),
        (lambda x: x * (7 // (x.shape[0] - 3)), "n - 3", 0),
        (lambda x: x * (x.shape[1] % (x.shape[0] - 3)), "n - 3", 0),
        (lambda x: x * divmod(7, x.shape[0] - 3)[1], "n - 3", 0),
        (lambda x: x * divmod(x.shape[1], x.shape[0] - 3)[0], "n - 3", 0),
        (lambda x: x * 2 if x.shape == (2, 2) else x, "n", 2),
    ],
)
def test_an_equality_that_some_sizes_satisfy_is_a_guard(fun, left, right):
    (guard,) = record(fun).guards
    assert (guard.left, guard.op) == (parse(left), "!=")
    assert guard.right == (parse(right) if isinstance(right, str) else right)
    assert "test_guards.py" in guard.source


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: x * 2 if x.shape[0] == 0 else x,
        lambda x: x * 2 if x.shape[0] == 10 else x,
        lambda x: x * 2 if x.shape[0] == x.shape[0] else x,
        lambda x: x.reshape(-1).sum() + jnp.broadcast_to(x[0], x.shape).sum(),
        lambda x: jax.nn.softmax(x @ x.T) @ x,
    ],
)
def test_what_no_size_makes_true_and_what_jax_asks_itself_are_no_guards(fun):
    assert not record(fun).guards


def test_a_dimension_equals_an_array_elementwise():
    shape = export.symbolic_shape("n")
    with guards.recording(REGION):
        traced = jax.jit(lambda x: x.shape[0] == jnp.arange(3)).trace(
            jax.ShapeDtypeStruct(shape, np.float32)
        )
    assert (traced.out_info.shape, traced.out_info.dtype) == ((3,), np.bool_)


def test_an_inconclusive_comparison_stops_the_trace():
    shape = export.symbolic_shape("n", constraints=["n <= 9"])
    with guards.recording(REGION) as recorder, pytest.raises(Exception, match="n >= 5"):
        jax.jit(lambda x: x if x.shape[0] >= 5 else -x).trace(
            jax.ShapeDtypeStruct(shape, np.float32)
        )
    assert recorder.undecided is not None
    assert (recorder.undecided.left, recorder.undecided.right) == (parse("n"), 5)
    assert recorder.undecided.holds({"n": 5}) and not recorder.undecided.holds({"n": 4})


def test_the_product_of_floordivs_is_not_proved_wrongly():
    # jax 0.10 takes floordiv(n - 5, 2)**2 for 4 everywhere; it is 0 at n = 5.
    shape = export.symbolic_shape("n", constraints=["n <= 9"])
    with guards.recording(REGION) as recorder, pytest.raises(Exception, match="//2"):
        jax.jit(lambda x: x if ((x.shape[0] - 5) // 2) ** 2 >= 1 else -x).trace(
            jax.ShapeDtypeStruct(shape, np.float32)
        )
    assert recorder.undecided is not None


def test_nothing_is_recorded_outside_the_block_or_on_a_thread_of_others():
    (n,) = export.symbolic_shape("n")
    assert n != 1 and bool(n - 1)
    other: list[bool] = []
    ready = threading.Event()
    thread = threading.Thread(target=lambda: other.append(ready.wait(20) and n == 1))
    thread.start()
    with guards.recording(REGION) as recorder:
        ready.set()
        thread.join()
    assert other == [False]
    assert not recorder.guards


def test_a_size_that_must_be_zero_is_false_and_divides_nothing():
    """``n & 1`` where constraints leave n = 12 alone, which no range says."""
    twelve = [Comparison.parse(text) for text in ("n <= 12", "floordiv(floordiv(n, 2), 2) >= 3")]
    with guards.recording(Region.of(["n"], twelve)) as recorder:
        (n,) = export.symbolic_shape("n")
        seen = bool(n % 2), not n % 2
        with pytest.raises(ZeroDivisionError):
            7 // (n % 2)
    assert seen == (False, True) and not recorder.guards


@pytest.mark.parametrize("end", [100, 100_000])
def test_a_long_range_is_not_searched_number_by_number(end):
    def fun(x: jax.Array) -> jax.Array:
        return x * 3 if x.shape[0] in range(3, end, 2) else x * 2

    function = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 20",))
    for size in (5, 1, 20, 9):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(function(x), jax.jit(fun)(x))
    assert function.stats().exact_fallbacks == 0
