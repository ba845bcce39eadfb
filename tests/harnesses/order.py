"""Programs that depend on the order of lanes: cumulative, argmax, sort, top-k."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.harnesses.base import Arg, Harness

BS = Arg("b, s")
FLOATS = (np.float32, np.float16, jnp.bfloat16)


def _ties(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-2, 2, shape)


def _special(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Few numbers, so that there are ties; both zeros, infinities and NaNs among them."""
    negative_nan = np.copysign(np.nan, -1.0)
    return rng.choice([-np.inf, np.inf, np.nan, negative_nan, -0.0, 0.0, 1.0], shape)


def _bounds_of_type(dtype: Any) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    info = jnp.iinfo(dtype)
    return lambda rng, shape: rng.choice([info.min, info.max, 0, 3], shape)


SPECIAL = Arg("b, s", np.float32, _special)
TIES = Arg("b, s", np.float32, _ties)
INT8 = Arg("b, s", np.int8, _bounds_of_type(np.int8))
UINT32 = Arg("b, s", np.uint32, _bounds_of_type(np.uint32))
BOOL = Arg("b, s", bool)


def _both_axes(fun: Callable[..., Any], **options: Any) -> Callable[[jax.Array], Any]:
    return lambda x: (fun(x, axis=0, **options), fun(x, axis=1, **options))


def _merged(fun: Callable[..., Any], **options: Any) -> Callable[[jax.Array], Any]:
    return lambda x: fun(x.reshape(-1), **options)


CUMULATIVE = [
    *(
        Harness(
            f"{name}_{np.dtype(dtype).name}",
            fun,
            (Arg("b, s", dtype),),
            rtol=1e-2 if half else 1e-5,
        )
        for name, op, dtypes in (
            ("cumsum", lax.cumsum, (*FLOATS, np.complex64, np.int32, np.uint8)),
            ("cumprod", lax.cumprod, (np.float32, np.complex64, np.int32)),
            ("cummax", lax.cummax, (np.float32, np.int8, np.uint32)),
            ("cummin", lax.cummin, (np.float32, np.int8, np.uint32)),
            ("cumlogsumexp", lax.cumlogsumexp, (np.float32,)),
        )
        for dtype in dtypes
        for half in (dtype in (np.float16, jnp.bfloat16),)
        for fun in (lambda x, op=op: (_both_axes(op)(x), _both_axes(op, reverse=True)(x)),)
    ),
    Harness("cumsum_merged", _merged(lax.cumsum), (BS,)),
    Harness("cumsum_merged_reverse", _merged(lax.cumsum, reverse=True), (BS,)),
    Harness("cumprod_merged", _merged(lax.cumprod), (BS,)),
    Harness("cummax_merged", _merged(lax.cummax), (INT8,)),
    Harness("cummin_merged", _merged(lax.cummin), (UINT32,)),
    Harness("cumlogsumexp_merged", _merged(lax.cumlogsumexp), (BS,)),
    Harness("cumsum_bool", lambda x: jnp.cumsum(x, axis=1), (BOOL,)),
    Harness("cumsum_flat", lambda x: jnp.cumsum(x), (BS,)),
    Harness("cumsum_dtype", lambda x: jnp.cumsum(x, 1, dtype=np.float32), (INT8,)),
    Harness("cumsum_gradient", jax.grad(lambda x: (lax.cumsum(x, 1) ** 2).sum()), (BS,)),
    Harness("cummax_special", _both_axes(lax.cummax, reverse=True), (SPECIAL,)),
    Harness("cummin_special", _both_axes(lax.cummin, reverse=True), (SPECIAL,)),
    Harness("cumsum_positions", lambda m: jnp.cumsum(m.astype(np.int32), axis=1) * m, (BOOL,)),
    Harness(
        "cumsum_of_softmax", lambda x: jnp.cumsum(jax.nn.softmax(x, 1)[:, ::-1], axis=1), (BS,)
    ),
]

ARG_EXTREMUM = [
    *(
        Harness(f"{name}_{arg.dtype.__name__}_{kind}", fun, (arg,))
        for name, op in (("argmax", jnp.argmax), ("argmin", jnp.argmin))
        for kind, arg in (
            ("special", SPECIAL),
            ("ties", TIES),
            ("bounds", INT8),
            ("bounds", UINT32),
            ("coins", BOOL),
        )
        for fun in (lambda x, op=op: (op(x), op(x, axis=0), op(x, axis=1)),)
    ),
    Harness("argmax_all_lowest", lambda x: jnp.argmax(jnp.full_like(x, -np.inf), axis=1), (BS,)),
    Harness("argmin_all_highest", lambda x: jnp.argmin(jnp.full_like(x, np.inf), axis=1), (BS,)),
    Harness("argmax_index_dtype", lambda x: lax.argmax(x, 1, np.int8), (TIES,)),
    Harness(
        "argmax_of_nan_rows",
        lambda x: (
            jnp.where(x > -9, jnp.nan, jax.nn.softmax(x, 1)).argmax(1),
            jax.nn.softmax(x, 1).argmax(1),
        ),
        (BS,),
    ),
    Harness("argmax_nanargmax", lambda x: jnp.nanargmax(x, axis=1), (SPECIAL,)),
    Harness("argmin_nanargmin", lambda x: jnp.nanargmin(x, axis=0), (SPECIAL,)),
]

SORT = [
    *(
        Harness(
            f"sort_{arg.dtype.__name__}_{kind}", lambda x: (lax.sort(x, 0), lax.sort(x, 1)), (arg,)
        )
        for kind, arg in (
            ("normal", BS),
            ("special", SPECIAL),
            ("bounds", INT8),
            ("bounds", UINT32),
            ("coins", BOOL),
            ("normal", Arg("b, s", np.complex64)),
            ("special", Arg("b, s", np.float16, _special)),
        )
    ),
    Harness(
        "sort_jnp",
        lambda x: (jnp.sort(x), jnp.sort(x, axis=None), jnp.sort(x, descending=True)),
        (SPECIAL,),
    ),
    Harness("sort_merged", _merged(lax.sort), (INT8,)),
    Harness("sort_unstable_keys", lambda x: lax.sort(x, is_stable=False), (BS,)),
    Harness("sort_argsort", lambda x: (jnp.argsort(x), jnp.argsort(x, axis=0)), (SPECIAL,)),
    Harness("sort_argsort_descending", lambda x: jnp.argsort(x, descending=True), (TIES,)),
    Harness("sort_argsort_int", lambda x: (jnp.argsort(x), jnp.argsort(-x)), (INT8,)),
    Harness(
        "sort_unstable_rows",
        lambda x: jnp.argsort(x, stable=False),
        (Arg("b, 5", np.float32, _ties),),
    ),
    Harness("sort_pairs", lambda x, y: lax.sort((x, y), num_keys=1), (TIES, BS)),
    Harness("sort_two_keys", lambda x, y, z: lax.sort((x, y, z), num_keys=2), (BOOL, INT8, BS)),
    Harness(
        "sort_three_keys",
        lambda x, y, z: lax.sort((x, y, z), dimension=0, num_keys=3),
        (BOOL, INT8, SPECIAL),
    ),
    Harness(
        "sort_layouts",
        lambda x, y: lax.sort((x.reshape(-1), y), num_keys=1),
        (TIES, Arg("b*s")),
    ),
    Harness("sort_lexsort", lambda x, y: jnp.lexsort((x, y)), (TIES, INT8)),
    Harness("sort_gradient", jax.grad(lambda x: (jnp.sort(x, axis=1)[:, 0] * 3).sum()), (BS,)),
    Harness("sort_unstable_refused", lambda x: jnp.argsort(x, stable=False), (BS,), exact="sort"),
    Harness(
        "median", lambda x: (jnp.median(x), jnp.median(x, axis=0), jnp.median(x, axis=1)), (BS,)
    ),
    Harness("median_nan", lambda x: jnp.nanmedian(x, axis=1), (Arg("b, s", np.float32, _special),)),
    Harness("quantile", lambda x: jnp.quantile(x, 0.3, axis=1), (BS,)),
    Harness("percentile", lambda x: jnp.percentile(x, jnp.array([10.0, 75.0]), axis=0), (BS,)),
    Harness("percentile_nan", lambda x: jnp.nanpercentile(x, 40.0), (SPECIAL,)),
    Harness("unique", lambda x: jnp.unique(x, size=4, fill_value=0), (INT8,)),
    Harness("nonzero", lambda x: jnp.nonzero(x, size=6, fill_value=-1), (BOOL,)),
    Harness(
        "searchsorted_table",
        lambda t, x: jnp.searchsorted(t, x),
        (Arg((7,), make=lambda r, s: np.sort(r.normal(size=s))), BS),
    ),
]

TOP_K = [
    *(
        Harness(f"top_k_{np.dtype(arg.dtype).name}_{kind}", lambda x: lax.top_k(x, 1), (arg,))
        for kind, arg in (("normal", BS), ("special", SPECIAL), ("bounds", UINT32))
    ),
    *(
        Harness(
            f"top_k_{np.dtype(arg.dtype).name}_three",
            lambda x: (lax.top_k(x, 3), lax.top_k(x, 3, axis=0)),
            (arg,),
            constraints=("b >= 3", "s >= 3"),
        )
        for arg in (
            SPECIAL,
            INT8,
            Arg("b, s", np.float16, _special),
            Arg("b, s", jnp.bfloat16, _special),
            BOOL,
        )
    ),
    Harness("top_k_merged", _merged(lax.top_k, k=1), (SPECIAL,)),
    Harness("top_k_rows", lambda x: lax.top_k(x, 3), (Arg("b, 7", np.float32, _special),)),
    Harness(
        "top_k_symbolic",
        lambda x, y: lax.top_k(x, y.shape[0]),
        (BS, Arg("t")),
        constraints=("t <= s",),
    ),
    Harness(
        "top_k_half", lambda x: lax.top_k(x, x.shape[1] // 2), (SPECIAL,), constraints=("s >= 2",)
    ),
    Harness(
        "top_k_gradient",
        jax.grad(lambda x: (lax.top_k(x, 2)[0] ** 2).sum()),
        (BS,),
        constraints=("s >= 2",),
    ),
    Harness("approx_top_k_rows", lambda x: lax.approx_max_k(x, 3), (Arg("b, 9"),)),
    Harness(
        "approx_top_k_rows_min",
        lambda x: lax.approx_min_k(x, 3, reduction_dimension=1),
        (Arg("b, 9, s"),),
    ),
    Harness(
        "approx_top_k_unaggregated",
        lambda x: lax.approx_max_k(x, 3, aggregate_to_topk=False),
        (Arg("b, 9"),),
    ),
    Harness("approx_top_k_refused", lambda x: lax.approx_max_k(x, 1), (BS,), exact="approx_top_k"),
    Harness(
        "approx_top_k_symbolic_k",
        lambda x, y: lax.approx_max_k(x, y.shape[0]),
        (Arg("b, 9"), Arg("s")),
        exact="approx_top_k",
    ),
]

HARNESSES = [*CUMULATIVE, *ARG_EXTREMUM, *SORT, *TOP_K]
