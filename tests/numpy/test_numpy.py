"""Functions whose results have sizes that depend on values equal NumPy's, cut and uncut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sod2jax
import sod2jax.numpy as snp
from tests.harnesses.base import bits

MOST = 8


def optimized(fun: Callable[..., Any], cut: str, **options: Any) -> sod2jax.OptimizedFunction:
    """The function in one bucket of its arguments."""
    names = {"n": (MOST,)}
    return sod2jax.optimize(
        fun,
        shapes=("n", "n", "n, 3", "n"),
        buckets=names,
        max_executables=1,
        cut=cut,
        **{"on_unsupported": "error", **options},
    )


def arguments(n: int, density: str) -> tuple[np.ndarray, ...]:
    """x, with NaN, infinity, both zeros and duplicates; a mask; a matrix; small integers."""
    rng = np.random.default_rng(n)
    share = {"none": 0.0, "half": 0.5}.get(density, 1.0)
    mask = rng.random(n) < share
    if density == "one":
        mask = np.arange(n) == n // 2
    x = rng.choice([-1.5, -0.0, 0.0, 2.0, 2.0, np.nan, np.inf], n).astype(np.float32)
    a = rng.choice([-1.0, 0.0, 1.0, 2.5], (n, 3)).astype(np.float32)
    k = rng.integers(0, 5, n).astype(np.int32)
    return x, mask, np.where(mask[:, None], a, np.float32(0)), np.where(mask, k, np.int32(0))


# Each is called with NumPy arrays, where the functions are NumPy's, and optimized.
CASES: dict[str, Callable[..., Any]] = {
    "flatnonzero_mask": lambda x, m, a, k: snp.flatnonzero(m),
    "flatnonzero_floats": lambda x, m, a, k: snp.flatnonzero(x),
    "flatnonzero_matrix": lambda x, m, a, k: snp.flatnonzero(a),
    "nonzero": lambda x, m, a, k: snp.nonzero(k),
    "nonzero_matrix": lambda x, m, a, k: snp.nonzero(a > 0),
    "argwhere": lambda x, m, a, k: snp.argwhere(a),
    "argwhere_scalar": lambda x, m, a, k: snp.argwhere(m.any()),
    "where_one": lambda x, m, a, k: snp.where(a < 0),
    "where_three": lambda x, m, a, k: snp.where(m, x, -x),
    "compress": lambda x, m, a, k: snp.compress(m, x),
    "compress_rows": lambda x, m, a, k: snp.compress(m, a, axis=0),
    "compress_columns": lambda x, m, a, k: snp.compress(a.any(axis=0), a, axis=-1),
    "compress_short": lambda x, m, a, k: snp.compress(m, a),
    "extract": lambda x, m, a, k: snp.extract(a > 0, a),
    "index": lambda x, m, a, k: snp.boolean_index(x, m),
    "index_rows": lambda x, m, a, k: snp.boolean_index(a, m),
    "index_matrix": lambda x, m, a, k: snp.boolean_index(a, a > 0),
    "index_scalar": lambda x, m, a, k: snp.boolean_index(x, m.any()),
    "delete": lambda x, m, a, k: snp.delete(x, m),
    "delete_rows": lambda x, m, a, k: snp.delete(a, m, axis=0),
    "delete_flat": lambda x, m, a, k: snp.delete(a, (a > 0).ravel()),
    "delete_places": lambda x, m, a, k: snp.delete(x, snp.flatnonzero(m)),
    "delete_last": lambda x, m, a, k: snp.delete(x, -1),
    "insert": lambda x, m, a, k: snp.insert(x, m, 7),
    "insert_rows": lambda x, m, a, k: snp.insert(a, m, snp.boolean_index(-a, m), axis=0),
    "insert_first": lambda x, m, a, k: snp.insert(x, 0, 5),
    "trim_zeros": lambda x, m, a, k: snp.trim_zeros(k),
    "trim_zeros_front": lambda x, m, a, k: snp.trim_zeros(k, "f"),
    "trim_zeros_back": lambda x, m, a, k: snp.trim_zeros(k, "b"),
    "repeat": lambda x, m, a, k: snp.repeat(x, k, max_size=32),
    "repeat_rows": lambda x, m, a, k: snp.repeat(a, k, axis=0, max_size=5 * k.shape[0]),
    "repeat_scalar": lambda x, m, a, k: snp.repeat(x, k[0], max_size=32),
    "repeat_fixed": lambda x, m, a, k: snp.repeat(a, 2, axis=1),
    "repeat_unbounded": lambda x, m, a, k: snp.repeat(k, k),
    "unique": lambda x, m, a, k: snp.unique(x),
    "unique_all": lambda x, m, a, k: snp.unique(x, True, True, True),
    "unique_nan": lambda x, m, a, k: snp.unique(x, True, True, True, equal_nan=False),
    "unique_matrix": lambda x, m, a, k: snp.unique(a, return_inverse=True, return_counts=True),
    "unique_booleans": lambda x, m, a, k: snp.unique(m, return_counts=True),
    "unique_rows": lambda x, m, a, k: snp.unique(a, True, True, True, axis=0),
    "unique_columns": lambda x, m, a, k: snp.unique(a, True, True, True, axis=1),
    "intersect": lambda x, m, a, k: snp.intersect1d(x, a),
    "intersect_places": lambda x, m, a, k: snp.intersect1d(k, k[::-1] + 1, return_indices=True),
    "union": lambda x, m, a, k: snp.union1d(x, a),
    "setdiff": lambda x, m, a, k: snp.setdiff1d(x, a),
    "setdiff_ordered": lambda x, m, a, k: snp.setdiff1d(
        snp.unique(x)[::-1], snp.unique(a), assume_unique=True
    ),
    "setdiff_nan": lambda x, m, a, k: snp.setdiff1d(x, x),
    "setxor": lambda x, m, a, k: snp.setxor1d(x, a),
    "setxor_nan": lambda x, m, a, k: snp.setxor1d(x, -x),
    "isin": lambda x, m, a, k: (snp.isin(a, x), snp.isin(k, k[::-1] + 1, invert=True)),
    "isin_selected": lambda x, m, a, k: snp.isin(k, snp.compress(m, k) + 1),
    "bincount": lambda x, m, a, k: snp.bincount(k, max_size=8),
    "bincount_weights": lambda x, m, a, k: snp.bincount(k, a[:, 0], minlength=3, max_size=8),
    "bincount_unbounded": lambda x, m, a, k: snp.bincount(k),
    "arange": lambda x, m, a, k: snp.arange(k.sum(), max_size=40),
    "arange_steps": lambda x, m, a, k: snp.arange(k[0] - 5, 3, k[0] + 1, max_size=40),
    "concatenate": lambda x, m, a, k: snp.concatenate(
        [snp.compress(m, x), x, snp.compress(~m, x), snp.flatnonzero(m).astype(np.float32)]
    ),
    "selected_twice": lambda x, m, a, k: snp.flatnonzero(snp.compress(m, k) > 1),
    "unique_of_selected": lambda x, m, a, k: snp.unique(snp.compress(m, k), return_counts=True),
}
SLOW = (
    "flatnonzero_floats where_one extract index_rows delete_flat trim_zeros_front trim_zeros_back "
    "unique_booleans unique_nan setdiff_nan setxor_nan setdiff_ordered bincount_weights "
    "nonzero argwhere_scalar compress_short index_scalar union setxor repeat_rows unique_matrix "
    "compress_rows repeat_scalar unique_of_selected arange_steps intersect"
).split()
SEEN_EMPTY = "isin_selected unique_of_selected".split()  # JAX refuses to read from empty arrays
FREE = "where_three delete_last insert_first repeat_fixed isin".split()  # of sizes by value


@pytest.mark.parametrize("cut", ["never", "always"])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES]
)
def test_equals_numpy(name: str, cut: str) -> None:
    f = optimized(CASES[name], cut)
    for n, density in [(1, "all"), (1, "none"), (MOST, "half"), (5, "none"), (5, "one")]:
        check(f, CASES[name], arguments(n, density), f"{name} at {n}, {density}")
    stats = f.stats()
    traces = 2 if name in SEEN_EMPTY else 1
    assert (stats.traces, stats.exact_fallbacks) == (traces, 0), stats
    pieces = len(f.analyse(*arguments(5, "half")).parts)
    unbounded = name.endswith("unbounded")
    assert pieces == 1 if name in FREE or (cut == "never" and not unbounded) else pieces > 1


def check(f: sod2jax.OptimizedFunction, plain: Callable[..., Any], args: Any, where: str) -> None:
    """Asserts that a call equals NumPy's, whatever the padding holds."""
    want = jax.tree.leaves(plain(*args))
    clean, poisoned = (
        jax.tree.leaves(f.run(args, {}, poison, foreign=poison)) for poison in (False, True)
    )
    assert len(clean) == len(want), where
    for a, b, c in zip(clean, want, poisoned, strict=True):
        b = np.asarray(b)
        assert isinstance(a, jax.Array), where
        assert (a.shape, a.dtype) == (b.shape, jax.dtypes.canonicalize_dtype(b.dtype)), where
        np.testing.assert_array_equal(a, b.astype(a.dtype), err_msg=where)
        assert bits(a) == bits(c), f"poison in the padding changed {where}"


# Random masks


def several(x: Any, m: Any, a: Any, k: Any) -> Any:
    y, i = snp.boolean_index(x, m), snp.flatnonzero(k)
    values, which, counts = snp.unique(k, return_inverse=True, return_counts=True)
    return y, i, x[i], values[which], counts, snp.concatenate([i, snp.flatnonzero(m)])


several_uncut = optimized(several, "never")


@given(st.data())
def test_random_values(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, MOST))
    vectors = [
        st.lists(elements, min_size=n, max_size=n)
        for elements in (st.floats(width=32), st.booleans(), st.integers(0, 9))
    ]
    x, mask, k = (np.array(data.draw(v), t) for v, t in zip(vectors, "f?i", strict=True))
    args = (x, mask, np.zeros((n, 3), np.float32), k)
    check(several_uncut, several, args, str(args))
    assert several_uncut.stats().exact_fallbacks == 0


# Outside of optimized functions


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in ("insert_rows", "unique_all") else [pytest.mark.slow])
        for n in CASES
    ],
)
def test_jax_arrays_without_a_trace(name: str) -> None:
    for args in (arguments(5, "half"), arguments(1, "none")):
        seen = jax.tree.leaves(CASES[name](*map(jnp.asarray, args)))
        for a, b in zip(seen, map(np.asarray, jax.tree.leaves(CASES[name](*args))), strict=True):
            assert isinstance(a, jax.Array)
            assert (a.shape, a.dtype) == (b.shape, jax.dtypes.canonicalize_dtype(b.dtype))
            np.testing.assert_array_equal(a, b.astype(a.dtype))


def test_numpy_for_numpy_and_jax_for_jax() -> None:
    mask = np.array([True, False, True])
    assert type(snp.flatnonzero(mask)) is np.ndarray
    assert isinstance(snp.flatnonzero(jnp.asarray(mask)), jax.Array)
    assert snp.boolean_index(np.arange(3), mask).tolist() == [0, 2]
    assert snp.boolean_index(jnp.arange(3), mask).tolist() == [0, 2]
    assert snp.repeat(jnp.arange(3), jnp.array([2, 0, 1]), max_size=4).tolist() == [0, 0, 2]
    assert snp.arange(jnp.int32(3), max_size=5).tolist() == [0, 1, 2]
    assert snp.isin(jnp.arange(3), np.array([1])).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: snp.flatnonzero(x),
        lambda x: snp.boolean_index(x, x > 0),
        lambda x: snp.unique(x),
        lambda x: snp.repeat(x, x.astype(int)),
        lambda x: snp.nms(x[:, None] * np.ones((1, 4), np.float32), x, 0.5),
    ],
)
@pytest.mark.parametrize("transform", [jax.jit, jax.vmap])
def test_other_traces_are_refused_with_remedies(call: Any, transform: Any) -> None:
    x = np.ones((2, 3), np.float32) if transform is jax.vmap else np.ones(3, np.float32)
    with pytest.raises(sod2jax.errors.DataDependentSizeError, match=r"sod2jax\.optimize.*size="):
        transform(call)(x)


def test_isin_works_under_every_trace() -> None:
    x, y = np.array([[1, 2], [3, 4]]), np.array([2, 5])
    seen = jax.jit(jax.vmap(lambda row: snp.isin(row, y)))(x)
    np.testing.assert_array_equal(seen, np.isin(x, y))
    assert not jax.jit(snp.isin)(x, np.zeros(0, np.int32)).any()


# Wrong arguments: NumPy's kinds of errors, inside as outside

WRONG: dict[str, tuple[type[Exception], Callable[..., Any]]] = {
    "nonzero_scalar": (ValueError, lambda x, m, a, k: snp.nonzero(k[0])),
    "compress_matrix": (ValueError, lambda x, m, a, k: snp.compress(a > 0, a)),
    "compress_axis": (np.exceptions.AxisError, lambda x, m, a, k: snp.compress(m, x, axis=1)),
    "index_integers": (IndexError, lambda x, m, a, k: snp.boolean_index(x, k)),
    "index_deep": (IndexError, lambda x, m, a, k: snp.boolean_index(x, a > 0)),
    "index_other": (IndexError, lambda x, m, a, k: snp.boolean_index(a.T, m)),
    "delete_other": (ValueError, lambda x, m, a, k: snp.delete(x, snp.concatenate([m, m]))),
    "insert_matrix": (ValueError, lambda x, m, a, k: snp.insert(x, a > 0, 1)),
    "where_two": (ValueError, lambda x, m, a, k: snp.where(m, x)),
    "repeat_floats": (TypeError, lambda x, m, a, k: snp.repeat(x, x)),
    "repeat_other": (ValueError, lambda x, m, a, k: snp.repeat(x, snp.concatenate([k, k]))),
    "unique_axis": (np.exceptions.AxisError, lambda x, m, a, k: snp.unique(a, axis=2)),
    "bincount_floats": (TypeError, lambda x, m, a, k: snp.bincount(x)),
    "bincount_matrix": (ValueError, lambda x, m, a, k: snp.bincount(k[:, None])),
    "trim_zeros_sides": (ValueError, lambda x, m, a, k: snp.trim_zeros(k, "x")),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    kind, call = WRONG[name]
    args = arguments(4, "half")
    if name not in ("index_integers", "trim_zeros_sides"):
        with pytest.raises(kind):
            call(*args)
    with pytest.raises((sod2jax.errors.TraceError, kind)) as caught:
        optimized(call, "never")(*args)
    assert kind.__name__ in f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize("cut", ["never", "always"])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, m, a, k: snp.repeat(x, k, max_size=2), "maximum"),
        (lambda x, m, a, k: snp.repeat(x, k - 3, max_size=40), "negative"),
        (lambda x, m, a, k: snp.bincount(k, max_size=2), "maximum"),
        (lambda x, m, a, k: snp.bincount(k - 3, max_size=8), "negative"),
    ],
)
def test_sizes_out_of_range(call: Any, message: str, cut: str) -> None:
    args = arguments(MOST, "all")
    with pytest.raises(sod2jax.errors.ShapeError, match=message):
        optimized(call, cut)(*args)
    with pytest.raises(sod2jax.errors.ShapeError, match=message):
        call(*map(jnp.asarray, args))


# Suppression of boxes


def plain_nms(boxes: np.ndarray, scores: np.ndarray, iou: float, least: float) -> list[int]:
    """Greedy, box by box."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        x1, y1, x2, y2 = boxes[i]
        for j in kept:
            u1, v1, u2, v2 = boxes[j]
            w, h = min(x2, u2) - max(x1, u1), min(y2, v2) - max(y1, v1)
            common = max(w, 0) * max(h, 0)
            if common > iou * ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - common):
                break
        else:
            if scores[i] > least:
                kept.append(i)
    return kept


READS_FIRST = "delete_last insert_first repeat_scalar arange_steps".split()
OTHER_DTYPE = ["bincount_weights"]  # NumPy counts nothing in integers, whatever the weights


def of_selected(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function, of what a mask selects, which may be nothing."""

    def selected(x: Any, m: Any, a: Any, k: Any) -> Any:
        return fun(*(snp.compress(m, array, axis=0) for array in (x, m, a, k)))

    return selected


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if at % 4 else [])
        for at, n in enumerate(n for n in CASES if n not in READS_FIRST + OTHER_DTYPE)
    ],
)
def test_of_nothing(name: str) -> None:
    fun = of_selected(CASES[name])
    f = optimized(fun, "auto")
    for n, density in [(6, "half"), (5, "none"), (MOST, "half"), (1, "none")]:
        args = arguments(n, density)
        try:
            fun(*args)
        except (IndexError, ValueError):
            continue  # NumPy, too, wants one element
        check(f, fun, args, f"{name} at {n}, {density}")
    assert f.stats().exact_fallbacks == 0


@pytest.mark.parametrize("cut", ["never", "always"])
def test_nms_of_no_boxes(cut: str) -> None:
    f = sod2jax.optimize(
        lambda boxes, scores: snp.nms(
            snp.compress(scores > 0.5, boxes, axis=0), snp.compress(scores > 0.5, scores), 0.3
        ),
        shapes=("n, 4", "n"),
        buckets={"n": (MOST,)},
        max_executables=1,
        cut=cut,
        on_unsupported="error",
    )
    boxes = np.array([[0, 0, 1, 1], [2, 2, 3, 4], [0, 0, 1, 1]], np.float32)
    for scores in ([0.1, 0.2, 0.3], [0.9, 0.8, 0.7], [0.0, 0.9, 0.1]):
        scores = np.float32(scores)
        chosen = scores > 0.5
        want = plain_nms(boxes[chosen], scores[chosen], 0.3, -np.inf)
        assert f(boxes, scores).tolist() == want
        jax_arrays = jnp.asarray(boxes[chosen]), jnp.asarray(scores[chosen])
        assert snp.nms(*jax_arrays, 0.3).tolist() == want


@pytest.mark.parametrize("cut", ["never", "always"])
def test_nms(cut: str) -> None:
    f = sod2jax.optimize(
        lambda boxes, scores: snp.nms(boxes, scores, 0.3, 0.2),
        shapes=("n, 4", "n"),
        buckets={"n": (MOST,)},
        max_executables=1,
        cut=cut,
        on_unsupported="error",
    )
    for n, top in [(1, 1.0), (1, 0.1), (MOST, 1.0), (6, 0.1), (7, 1.0)]:
        rng = np.random.default_rng(n)
        corner = rng.integers(0, 6, (n, 2))
        boxes = np.concatenate([corner, corner + rng.integers(1, 6, (n, 2))], 1).astype(np.float32)
        scores = (rng.integers(0, 4, n) / 4 * top).astype(np.float32)  # with ties
        want = plain_nms(boxes, scores, 0.3, 0.2)
        seen = f(boxes, scores)
        assert (seen.tolist(), seen.dtype) == (want, np.int32)
        assert bits(seen) == bits(f.run((boxes, scores), {}, True, foreign=True))
        assert snp.nms(boxes, scores, 0.3, 0.2).tolist() == want
    assert f.stats().exact_fallbacks == 0
    for wrong in [(boxes[:, :3], scores), (boxes, scores[1:])]:
        with pytest.raises(ValueError, match=r"must be \["):
            snp.nms(*wrong, 0.5)
