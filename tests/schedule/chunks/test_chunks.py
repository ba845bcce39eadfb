"""Programs whose large values are computed by rows give what they gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax import _compat
from sod2jax.ir.jaxprs import equations
from sod2jax.memory.liveness import live_bytes, live_ranges
from sod2jax.schedule.chunks import Sizes, TrueSizes, chunked

EVERYTHING = Sizes(fat=1, least=0, block=2)


def peak(jaxpr: Any) -> int:
    return max(live_bytes(b for b in live_ranges(jaxpr) if b.kind == "temp"), default=0)


def loops(jaxpr: Any) -> list[Any]:
    return [e for e in equations(jaxpr) if e.primitive.name in ("scan", "while")]


def both(
    fun: Callable[..., Any], args: Sequence[Any], sizes: Sizes = EVERYTHING
) -> tuple[list[Any], list[Any], Any]:
    """The results of a function, those of its loops, and the program with them."""
    jaxpr = jax.make_jaxpr(fun)(*args)
    new, _ = chunked(jaxpr, sizes)
    want = jax.jit(_compat.function_of(jaxpr))(*args)
    return want, jax.jit(_compat.function_of(new))(*args), new


@pytest.fixture(autouse=True)
def _ranks() -> Iterator[None]:
    """Programs of this file broadcast as users' do."""
    with jax.numpy_rank_promotion("allow"):
        yield


def assert_equal(seen: Sequence[Any], want: Sequence[Any]) -> None:
    for a, b in zip(seen, want, strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
        if jnp.issubdtype(b.dtype, np.floating):
            scale = np.max(np.abs(b), initial=0, where=np.isfinite(b))
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * scale)
        else:
            np.testing.assert_array_equal(a, b)


def attention(x: jax.Array, w: jax.Array) -> jax.Array:
    q, k, v = jnp.einsum("sd,nde->nse", x, w)
    return jax.nn.softmax(q @ k.T) @ v


def nearest(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.argmin(jnp.sum((x[:, None] - y) ** 2, -1), -1)


def clipped(x: jax.Array, w: jax.Array) -> jax.Array:
    grads = jax.vmap(jax.grad(lambda w, x: jnp.tanh(x @ w).sum()), (None, 0))(w, x)
    return jnp.sum(grads / jnp.maximum(1, jnp.sqrt(jnp.sum(grads**2, (1, 2)))[:, None, None]), 0)


def causal(x: jax.Array, w: jax.Array) -> jax.Array:
    q, k, v = jnp.einsum("sd,nde->nse", x, w)
    scores = jnp.where(jnp.tril(jnp.ones((len(x), len(x)), bool)), q @ k.T, -jnp.inf)
    return jax.nn.softmax(scores) @ v


def bags(x: jax.Array, w: jax.Array) -> jax.Array:
    """A sum of rows by classes: a scatter whose updates are the rows."""
    hidden = jnp.tanh(x[:, None] * w[0, 0]).sum(1)
    return jnp.zeros(3).at[jnp.argmax(x[:, :3], 1)].add(hidden.sum(1))


def deep(x: jax.Array, w: jax.Array) -> jax.Array:
    for _ in range(3):
        x = x + attention(x, w)
    return x


PROGRAMS: dict[str, Callable[..., Any]] = {
    "attention": attention,
    "attention_grad": jax.grad(lambda x, w: attention(x, w).sum()),
    "weights_grad": jax.grad(lambda x, w: jnp.sin(attention(x, w)).sum(), (0, 1)),
    "causal": causal,
    "nearest": lambda x, w: nearest(x, w[0, :, :4]),
    "clipped": lambda x, w: clipped(x, w[0]),
    "bags": bags,
    "deep": deep,
    "deep_grad": jax.grad(lambda x, w: jnp.sin(deep(x, w)).sum(), (0, 1)),
    "scanned": lambda x, w: lax.scan(lambda c, _: (c + attention(c, w), None), x, length=2)[0],
}


@pytest.mark.parametrize("block", [1, 2, 3, 7])
@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_program_as_it_was(name: str, block: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((7, 4), np.float32), rng.standard_normal((3, 4, 4), np.float32)
    want, seen, new = both(PROGRAMS[name], (x, w), Sizes(fat=1, least=0, block=block))
    assert loops(new)
    assert_equal(seen, want)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["attention", "weights_grad", "nearest", "clipped"])
def test_numbers_that_are_none_stay_in_their_rows(name: str, bad: float) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((7, 4), np.float32), rng.standard_normal((3, 4, 4), np.float32)
    x[3, 1] = bad
    want, seen, _ = both(PROGRAMS[name], (x, w))
    assert_equal(seen, want)


def test_nothing_is_kept_of_what_only_a_loop_needs() -> None:
    x, w = np.ones((512, 64), np.float32), np.ones((3, 64, 64), np.float32)
    jaxpr = jax.make_jaxpr(attention)(x, w)
    new, remarks = chunked(jaxpr, Sizes(fat=1 << 18, least=1 << 20, block=32))
    assert [r.what for r in remarks] == [
        f"runs {n} equations for 32 of 512 rows at a time"
        for n in [int(remarks[0].what.split()[1])]
    ]
    assert peak(new) < 0.5 * peak(jaxpr)


def test_small_programs_are_left_alone() -> None:
    jaxpr = jax.make_jaxpr(attention)(np.ones((16, 4)), np.ones((3, 4, 4)))
    new, remarks = chunked(jaxpr, Sizes())
    assert new is jaxpr and not remarks


def test_programs_with_effects_are_left_alone() -> None:
    def told(x: jax.Array, w: jax.Array) -> jax.Array:
        jax.debug.print("{}", x[0, 0])
        return attention(x, w)

    jaxpr = jax.make_jaxpr(told)(np.ones((7, 4)), np.ones((3, 4, 4)))
    assert chunked(jaxpr, EVERYTHING)[0] is jaxpr


# Programs at random, around values of many lanes.

N, M = 6, 4
STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "multiply": lambda a, b: a * b,
    "tanh": lambda a, b: jnp.tanh(a),
    "sum": lambda a, b: a - a.sum(1, keepdims=True),
    "mean of the other axis": lambda a, b: a - a.mean(0),
    "largest": lambda a, b: a - a.max(-1, keepdims=True),
    "softmax": lambda a, b: jax.nn.softmax(a),
    "product": lambda a, b: (a @ b.T) @ b / N,
    "pairs": lambda a, b: jnp.sum(jnp.tanh(a[:, None] - b[None]), 1),
    "weights": lambda a, b: a @ (a.T @ b) / N,
    "sorted": lambda a, b: jnp.sort(a, 1),
    "running sum": lambda a, b: jnp.cumsum(a, 0) / N,
    "reversed": lambda a, b: a[::-1],
    "masked": lambda a, b: jnp.where(jnp.arange(N)[:, None] < 4, a, b),
    "below": lambda a, b: jnp.where(jnp.arange(N)[:, None] > jnp.arange(M), a, 0),
    "picked": lambda a, b: jnp.take_along_axis(a, jnp.argsort(b, 1), 1),
    "gathered": lambda a, b: a[jnp.argmax(b, 0)[0]] + b,
    "scattered": lambda a, b: jnp.zeros_like(a).at[jnp.argmax(b, 1)].add(a),
    "reshaped": lambda a, b: a.reshape(N, 2, 2).transpose(0, 2, 1).reshape(N, M),
    "merged": lambda a, b: (a.reshape(-1) * b.reshape(-1)).reshape(N, M),
    "turned": lambda a, b: (a.T @ b) @ a.T @ b @ jnp.ones((M, M)) if a.shape[0] == M else a + b,
    "halves": lambda a, b: jnp.concatenate([a[:, :2], b[:, 2:]], 1),
    "ranks": lambda a, b: (a[:, :, None] > b[:, None]).sum(2).astype(a.dtype),
}


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    length = draw(st.integers(2, 7))
    return [
        (
            draw(st.sampled_from(sorted(STEPS))),
            draw(st.integers(0, k + 1)),
            draw(st.integers(0, k + 1)),
        )
        for k in range(length)
    ]


@hypothesis.given(programs(), st.sampled_from([1, 2, 4, 5]), st.booleans())
def test_random_programs(steps: list[tuple[str, int, int]], block: int, gradient: bool) -> None:
    def run(x: jax.Array, y: jax.Array) -> list[jax.Array]:
        values = [x, y]
        for name, a, b in steps:
            made = STEPS[name](values[a], values[b])
            values.append(made / (1 + jnp.abs(made)))  # of order 1, however many steps there are
        return [values[-1], values[-2].sum()]

    rng = np.random.default_rng(len(steps))
    args = [rng.standard_normal((N, M)) for _ in range(2)]
    fun = jax.grad(lambda x, y: jnp.sin(run(x, y)[0]).sum(), (0, 1)) if gradient else run
    with jax.enable_x64(True):  # so that rounding decides no comparison
        want, seen, _ = both(fun, args, Sizes(fat=1, least=0, block=block))
    for a, b in zip(seen, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8 * np.max(np.abs(b), initial=1e-300))


# Up to the true size.


def padded(sizes: jax.Array, x: jax.Array, w: jax.Array) -> jax.Array:
    """Attention over the first rows of an array."""
    n = sizes[0]
    q, k, v = jnp.einsum("sd,nde->nse", x, w)
    inside = jnp.arange(len(x), dtype=np.int32) < n
    v = jnp.where(inside[:, None], v, 0)
    return jax.nn.softmax(jnp.where(inside, q @ k.T, -jnp.inf)) @ v


def summed(sizes: jax.Array, x: jax.Array, w: jax.Array) -> jax.Array:
    """A sum over the first rows of what is made of pairs."""
    inside = jnp.arange(len(x), dtype=np.int32) < sizes[0]
    pairs = jnp.tanh(x[:, None] - w[0]).sum(1)
    return jnp.where(inside[:, None], pairs, 0).sum(0)


def unmasked(sizes: jax.Array, x: jax.Array, w: jax.Array) -> jax.Array:
    """A sum that needs all rows."""
    return jnp.tanh(x[:, None] - w[0]).sum(1).sum(0) * sizes[0]


@pytest.mark.parametrize(
    ("fun", "trimmed", "stops"),
    [
        (padded, (0, None), True),
        (padded, (None, None), False),
        (summed, (None,), True),
        (unmasked, (None,), False),
    ],
)
def test_stops_where_nobody_sees_what_is_behind(
    fun: Callable[..., Any], trimmed: tuple[int | None, ...], stops: bool
) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((40, 4), np.float32), rng.standard_normal((3, 4, 4), np.float32)
    jaxpr = jax.make_jaxpr(fun)(np.zeros(1, np.int32), x, w)
    # Masks of one axis are no part of the loops.
    sizes = Sizes(fat=1 << 10, least=1, block=7)
    new, remarks = chunked(jaxpr, sizes, TrueSizes((40,), (trimmed,)))
    told = [r.what.endswith("up to the true size") for r in remarks]
    assert told and all(told) == stops
    for n in (1, 2, 6, 7, 8, 35, 36, 40):
        want = fun(np.array([n], np.int32), x, w)
        (seen,) = jax.jit(_compat.function_of(new))(np.array([n], np.int32), x, w)
        cut = n if trimmed[0] == 0 else None
        assert_equal([seen[:cut]], [want[:cut]])
