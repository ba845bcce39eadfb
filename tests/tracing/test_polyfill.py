"""JAX's functions that want sizes as numbers; tests/harnesses/numbers checks what they give."""

from __future__ import annotations

import builtins
import operator
import queue
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.lax import associative_scan

import sod2jax
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.tracing import guards, hooks, polyfill
from tests.harnesses import numbers
from tests.tracing.compare import assert_as_under_jit

X = np.arange(1.0, 6.0, dtype=np.float32)

# Programs whose course depends on the size.
BRANCHING = {
    "window": lambda x: jnp.hanning(x.shape[0]),
    "short_convolution": lambda x: jnp.convolve(x, jnp.arange(4.0), mode="same"),
    "squeeze": lambda x: x[None].squeeze(),
    "wrap_longer_than_the_axis": lambda x: jnp.pad(x, (5, 2), mode="wrap"),
    "symmetric_longer_than_the_axis": lambda x: jnp.pad(x, (5, 2), mode="symmetric"),
    "reflect_longer_than_the_axis": lambda x: jnp.pad(x, (0, 5), mode="reflect"),
    "sample": lambda x: (
        jax.random.choice(jax.random.key(0), x, (3,), replace=False) if len(x) > 2 else x
    ),
}


def small(fun, **kw):
    """The function, optimized for n up to 7."""
    return sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 7",), poison=True, **kw)


@pytest.mark.parametrize("harness", numbers.HARNESSES, ids=lambda harness: harness.name)
def test_one_symbolic_trace(harness):
    """No size is a number: a program that is unified from concrete traces has ``varying``."""
    rng = np.random.default_rng(0)
    inputs = [arg.values(rng, harness.full) for arg in harness.args]
    assert harness.optimized().analyse(*inputs).program.varying is None


@pytest.mark.parametrize("name", BRANCHING)
def test_every_size(name):
    optimized = small(BRANCHING[name])
    assert_as_under_jit(BRANCHING[name], optimized, range(1, 8), atol=1e-6)
    assert optimized.stats().exact_fallbacks == 0
    assert all(s.analysis.program.varying is None for s in optimized.planner.specialisations)


def test_associative_scan_adds_in_the_same_order():
    """Bit for bit, though the sums are rounded."""

    def fun(x):
        return associative_scan(jnp.add, x, reverse=True)

    optimized = sod2jax.optimize(fun, shapes=("n",), buckets={"n": (64,)})
    for size in (1, 31, 50, 64):
        x = np.random.default_rng(size).normal(size=size).astype(np.float32)
        np.testing.assert_array_equal(optimized(x), jax.jit(fun)(x))


def test_unbounded_sizes_are_capped():
    """Without an upper bound, the depth is that of the first cap, in a regime of its own."""
    optimized = sod2jax.optimize(lambda x: lax.associative_scan(jnp.add, x), shapes=("n",))
    program = optimized.analyse(X).program
    assert program.region.range("n") == (1, 4096)


def test_shuffles_sort_as_often_as_jax():
    def rounds(size):
        return int(np.ceil(3 * np.log(max(1, size)) / np.log(np.iinfo(np.uint32).max)))

    for k in (1, 2):
        most = polyfill._most_in_rounds(k)
        assert (rounds(most), rounds(most + 1)) == (k, k + 1)
    assert polyfill._most_in_rounds(3) == 2**31 - 1


def test_large_shuffles_have_a_regime():
    def fun(x):
        return jax.random.permutation(jax.random.key(1), x)

    optimized = sod2jax.optimize(fun, shapes=("n",), constraints=("n <= 2000",), max_executables=4)
    for size in (1625, 1626, 2000, 3):
        x = np.arange(size, dtype=np.float32)
        np.testing.assert_array_equal(optimized(x), jax.jit(fun)(x))
    assert len(optimized.planner.specialisations) == 2
    assert optimized.stats().exact_fallbacks == 0


def test_weak_types():
    def fun(x):
        n = x.shape[0]
        weak = jnp.asarray(2.0) * jnp.full((n,), 1.0)
        return lax.associative_scan(jnp.add, weak), jnp.take(weak, 5, mode="wrap"), weak[n - 1]

    got, want = small(fun)(X), jax.jit(fun)(X)
    assert [a.weak_type for a in got] == [a.weak_type for a in want]


def test_sixty_four_bits():
    def fun(x):
        n = x.shape[0]
        places = jnp.searchsorted(x, x), jnp.argsort(x), jnp.nonzero(x, size=n)
        return places, jnp.indices((n, 2)), x[n // 2], jnp.hanning(n)

    with jax.enable_x64(True):
        x = X.astype(np.float64)
        got, want = small(fun)(x), jax.jit(fun)(x)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_wrong_lengths_are_errors():
    def fun(x):
        return lax.scan(lambda c, y: (c + y, None), 0.0, x[1:], length=x.shape[0])[0]

    optimized = small(fun, on_unsupported="error")
    with pytest.raises(Exception, match="length"):
        optimized.analyse(X)


def test_hooks_mind_their_thread_and_are_gone_afterwards():
    before = len, operator.index, jax.lax.associative_scan, globals()["associative_scan"]
    other, here, sizes = [], [], queue.SimpleQueue()

    def elsewhere():
        size = sizes.get()
        with pytest.raises(TypeError):
            operator.index(size)
        other.append((len(X), lax.associative_scan(jnp.add, jnp.arange(3.0))[-1]))

    worker = threading.Thread(target=elsewhere)
    worker.start()

    def fun(x):
        sizes.put(x.shape[0])
        worker.join()
        here.append((len(x), operator.index(x.shape[0])))
        return associative_scan(jnp.add, x)

    small(fun).analyse(X)
    assert other == [(5, 3.0)]
    assert here[0] == (here[0][1], here[0][0])
    assert str(here[0][0]) == "n"
    assert hooks.active() is None
    assert before == (len, operator.index, jax.lax.associative_scan, associative_scan)
    assert builtins.len is before[0]


def test_concrete_calls_are_left_alone() -> None:
    """Inside a trace, what has no symbolic size is what it is outside."""

    def functions():
        keys = jax.random.key(0)
        yield jnp.searchsorted(X, 2.5)
        yield lax.associative_scan(jnp.add, X, reverse=True)
        yield jax.random.permutation(keys, X)
        yield jnp.pad(X, 7, mode="wrap")
        yield jnp.pad(X, 7, mode="reflect", reflect_type="odd")
        yield jnp.convolve(X, X[:2])
        yield jax.grad(jnp.prod)(X)
        yield X[None].squeeze()
        yield jnp.asarray(X)[operator.index(np.int8(2))]

    want = list(functions())
    with guards.recording(Region.of(["n"], [Comparison.parse("n <= 9")])):
        got = list(functions())
        assert len("four") == 4
        for function, wrong in ((len, 3), (operator.index, 1.0)):
            with pytest.raises(TypeError):
                function(wrong)
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)


def test_masks_behind_a_hooked_function_name_the_users_line():
    optimized = sod2jax.optimize(
        lambda x: jnp.convolve(x, jnp.ones(3)).sum(), shapes=("n",), buckets={"n": (8,)}
    )
    optimized(np.ones(5, np.float32))
    assert "test_polyfill.py" in optimized.explain()
    assert "sod2jax/tracing/polyfill.py" not in optimized.explain()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.skipif(jax.__version_info__ >= (0, 12), reason="is_constant_dim is no longer public")
def test_others_than_jax_who_ask_whether_a_size_is_a_number_leave_a_doubt():
    def fun(x):
        return x * 2 if jax.core.is_constant_dim(x.shape[0]) else x * 3

    f = sod2jax.optimize(fun, audit=False)
    for size in (6, 5, 1):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), 2 * x)
    assert "trust: checked" in f.explain()
