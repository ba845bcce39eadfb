"""Functions of ``jax.numpy``: statistics, shapes, orders, sets, choices, comparisons."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from tests.harnesses.base import Arg, Harness, table


def _with_nans(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([np.nan, -2.0, 0.5, 1.0, 3.0], shape)


def _rounded(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-2, 3, shape)


N = Arg("n")
M3 = Arg("n, 3")
BS = Arg("b, s")
POSITIVE = Arg("n", np.float32, lambda rng, shape: rng.uniform(0.5, 2.0, shape))
NANS = Arg("n", np.float32, _with_nans)
TIES = Arg("n", np.float32, _rounded)
INTS = Arg("n", np.int32, _rounded)
IDS = Arg("n", np.int32)
BOOL = Arg("n", bool)
QS = np.array([0.0, 0.3, 0.5, 1.0], np.float32)
EDGES = np.array([-1.0, 0.0, 0.5, 2.0], np.float32)

STATISTICS = [
    *table("numpy", N, {
        **{f"quantile_{method}": lambda x, method=method: jnp.quantile(x, QS, method=method)
           for method in ("linear", "lower", "higher", "midpoint", "nearest")},
        "quantile_scalar": lambda x: (jnp.quantile(x, 0.3), jnp.percentile(x, 65.0)),
        "ptp": jnp.ptp,
        "var_ddof": lambda x: (jnp.var(x, ddof=1), jnp.std(x, ddof=1), jnp.var(x, mean=0.5)),
        "mean_of_float16": lambda x: x.astype(jnp.float16).mean(),
        "sum_in_int": lambda x: jnp.sum(x > 0, dtype=np.int32),
        "histogram": lambda x: jnp.histogram(x, bins=4),
        "histogram_range": lambda x: jnp.histogram(x, bins=4, range=(-1.0, 1.0), density=True),
        "histogram_edges": lambda x: jnp.histogram_bin_edges(x, bins=3),
        "histogram_given_edges": lambda x: jnp.histogram(x, bins=EDGES),
        "digitize": lambda x: (jnp.digitize(x, EDGES), jnp.digitize(x, EDGES, right=True)),
        "interp_points": lambda x: jnp.interp(x, EDGES, EDGES**2, period=4.0),
        "count_nonzero": lambda x: jnp.count_nonzero(x > 0),
    }),
    *table("numpy", NANS, {
        "nanmean": lambda x: (jnp.nanmean(x), jnp.nansum(x), jnp.nanprod(x)),
        "nanvar": lambda x: (jnp.nanvar(x), jnp.nanstd(x, ddof=1)),
        "nanmax": lambda x: (jnp.nanmax(x), jnp.nanmin(x)),
        "nanargmax": lambda x: (jnp.nanargmax(x), jnp.nanargmin(x)),
        "nanquantile": lambda x: (jnp.nanquantile(x, QS), jnp.nanmedian(x)),
        "nancumsum": lambda x: (jnp.nancumsum(x), jnp.nancumprod(x)),
        "nan_to_num": lambda x: jnp.nan_to_num(x, nan=7.0).sum(),
        "max_with_nans": lambda x: (jnp.max(x), jnp.argmin(x), jnp.sort(x), jnp.median(x)),
        "max_where": lambda x: jnp.max(x, where=x > 0, initial=-3.0),
        "isclose": lambda x: (jnp.isclose(x, 0.5, equal_nan=True), jnp.allclose(x, x)),
        "unique_nans": lambda x: jnp.unique(x, size=4, fill_value=0.0, equal_nan=False),
    }),
    *table("numpy", (N, POSITIVE), {
        "average": lambda x, w: jnp.average(x, weights=w, returned=True),
        "corrcoef": lambda x, y: jnp.corrcoef(x, y),
        "cov": lambda x, w: jnp.cov(x, w, ddof=0),
        "cov_weighted": lambda x, w: jnp.cov(jnp.stack([x, x**2]), aweights=w, ddof=0),
        "histogram_weighted": lambda x, w: jnp.histogram(x, bins=4, range=(-2, 2), weights=w),
        "histogram2d": lambda x, y: jnp.histogram2d(x, y, bins=3),
        "trapezoid": lambda x, y: (jnp.trapezoid(x), jnp.trapezoid(x, jnp.cumsum(y))),
        "float_power": lambda x, y: jnp.float_power(y, x),
        "array_equal": lambda x, y: (jnp.array_equal(x, y), jnp.array_equal(x, x)),
        "lexsort": lambda x, y: jnp.lexsort((x > 0, jnp.round(y))),
    }, bucket={"n": 7}, constraints=("n >= 2",)),
    *table("numpy", M3, {
        "median_axes": lambda x: (jnp.median(x, 0), jnp.median(x, 1), jnp.median(x, (0, 1))),
        "quantile_axes": lambda x: jnp.quantile(x, QS, axis=0, keepdims=True),
        "cov_columns": lambda x: jnp.cov(x, rowvar=False, ddof=0),
        "cov_rows": lambda x: jnp.cov(x, bias=True),
        "average_axis": lambda x: (jnp.average(x, 0), jnp.average(x, 1, np.ones(3))),
        "histogramdd": lambda x: jnp.histogramdd(x, bins=2, range=[(-1, 1)] * 3)[0],
        "apply_along_axis": lambda x: jnp.apply_along_axis(jnp.ptp, 0, x),
        "apply_over_axes": lambda x: jnp.apply_over_axes(jnp.sum, x, [0, 1]),
        "vectorize": lambda x: jnp.vectorize(lambda y: y - y.mean(), signature="(k)->(k)")(x),
        "cumulative_sum": lambda x: jnp.cumulative_sum(x, axis=0, include_initial=True),
        "cumulative_prod": lambda x: jnp.cumulative_prod(x, axis=0, include_initial=True),
    }),
]  # fmt: skip

SHAPES = [
    *table("numpy", N, {
        "tile": lambda x: (jnp.tile(x, 3), jnp.tile(x, (2, 2))),
        "repeat": lambda x: jnp.repeat(x, 3),
        "roll": lambda x: (jnp.roll(x, 2), jnp.roll(x, -1), jnp.roll(x, 11)),
        "pad_modes": lambda x: [jnp.pad(x, (2, 1), mode=m) for m in ("edge", "constant", "empty")],
        "pad_ramp": lambda x: jnp.pad(x, (2, 1), mode="linear_ramp", end_values=(5.0, -1.0)),
        "pad_function": lambda x: jnp.pad(x, 2, mode=lambda row, *_: row.at[0].set(9.0)),
        **{f"pad_{mode}": lambda x, mode=mode: jnp.pad(x, (2, 1), mode=mode)
           for mode in ("maximum", "minimum", "mean", "median")},
        "stacks": lambda x: (jnp.hstack([x, x]), jnp.vstack([x, x]), jnp.dstack([x, x])),
        "column_stack": lambda x: (jnp.column_stack([x, x]), jnp.stack([x, x], axis=-1)),
        "insert": lambda x: (jnp.insert(x, 0, 9.0), jnp.insert(x, np.array([0, 1]), 5.0)),
        "insert_last": lambda x: jnp.insert(x, -1, 9.0),
        "delete": lambda x: (jnp.delete(x, 0), jnp.delete(x, -1)),
        "append": lambda x: (jnp.append(x, x), jnp.append(x, 3.0)),
        "ediff1d": lambda x: jnp.ediff1d(x, to_begin=-9.0, to_end=np.array([8.0, 7.0])),
        "diff_ends": lambda x: jnp.diff(x, prepend=0.0, append=1.0),
        "unwrap": lambda x: (jnp.unwrap(4 * x), jnp.unwrap(4 * x, period=3.0)),
        "flip": lambda x: (jnp.flip(x), x[::-1], x[::-2], x[1::2]),
        "resize": lambda x: (jnp.resize(x, (11,)), jnp.resize(x, (2, 3))),
        "ravel_index": lambda x: jnp.ravel_multi_index(
            (jnp.arange(x.shape[0]), 1), (x.shape[0], 3), mode="clip"),
        "unravel_index": lambda x: jnp.unravel_index(jnp.argmax(x), (len(x), 1)),
        "linspace": lambda x: jnp.linspace(x, 2 * x, 3),
        "arange_steps": lambda x: jnp.arange(3, x.shape[0] + 4, 2),
        "bartlett": lambda x: x * jnp.bartlett(x.shape[0]),
        "atleast": lambda x: (jnp.atleast_2d(x), jnp.atleast_3d(x)),
        "meshgrid": lambda x: (*jnp.meshgrid(x, x), *jnp.meshgrid(x, QS, indexing="ij")),
        "meshgrid_sparse": lambda x: jnp.meshgrid(x, QS, sparse=True),
        "ix": lambda x: jnp.outer(x, x)[jnp.ix_(np.array([0, -1]), np.array([0]))],
        "first_half": lambda x: x[: x.shape[0] - x.shape[0] // 2],
        "fill_diagonal": lambda x: jnp.fill_diagonal(jnp.outer(x, x), 5.0, inplace=False),
        "fromfunction": lambda x: jnp.fromfunction(lambda i, j: i * 2 + j, (x.shape[0], 2)),
        "empty_and_full": lambda x: (jnp.full_like(x, 3.0), jnp.zeros(x.shape), jnp.ones_like(x)),
        "identity": lambda x: (jnp.identity(len(x)), jnp.eye(len(x), k=1), jnp.eye(3, len(x))),
        "tri": lambda x: (jnp.tri(len(x)), jnp.tri(len(x), 4, -1), jnp.tri(3, len(x), 1)),
    }),
    *table("numpy", BS, {
        "roll_axes": lambda x: (jnp.roll(x, 2), jnp.roll(x, (1, -2), (0, 1)), jnp.roll(x, 3, 0)),
        "moves": lambda x: (jnp.moveaxis(x, 0, -1), jnp.rollaxis(x, 1), jnp.swapaxes(x, 0, 1)),
        "rot90": lambda x: (jnp.rot90(x), jnp.rot90(x, 2), jnp.rot90(x, 3)),
        "flips": lambda x: (jnp.fliplr(x), jnp.flipud(x), jnp.flip(x)),
        "ravel": lambda x: (x.ravel(), jnp.ravel(x, order="F"), x.flatten()[::-1]),
        "reshape_fortran": lambda x: jnp.reshape(x, (-1,), order="F") + x.reshape(-1),
        "repeat_axis": lambda x: (jnp.repeat(x, 2, axis=1), jnp.repeat(x, 2, axis=0)),
        "expand": lambda x: jnp.expand_dims(x, (0, 2)).squeeze((0, 2)),
        "pad_axes": lambda x: jnp.pad(x, ((0, 2), (1, 0)), mode="edge"),
        "pad_mean_axes": lambda x: jnp.pad(x, ((1, 0), (0, 2)), mode="mean"),
        "pad_maximum_axes": lambda x: jnp.pad(x, ((1, 0), (0, 2)), mode="maximum"),
        "append_axis": lambda x: jnp.append(x, x, axis=0),
        "triangles": lambda x: jnp.tril(x) + jnp.triu(x, 1) - jnp.tril(x, -2),
        "diagonals": lambda x: (jnp.trace(x), jnp.trace(x, 1), jnp.diagonal(x)),
        "diag": lambda x: (jnp.diag(x[0]), jnp.diag(x[0], -1), jnp.diagflat(x[:, 0], 2)),
        "insert_axis": lambda x: jnp.insert(x, 1, 9.0, axis=1),
        "delete_axis": lambda x: jnp.delete(x, 0, axis=0),
        "take": lambda x: jnp.take(x, jnp.array([0, -1, 3]), axis=1, mode="clip"),
        "broadcast_arrays": lambda x: jnp.broadcast_arrays(x[:, None], x[:, :, None]),
    }),
    *table("numpy", Arg("2*n, 4"), {
        "split": lambda x: (jnp.split(x, 2), jnp.split(x, [1], axis=0), jnp.hsplit(x, 2)),
        "array_split": lambda x: (jnp.array_split(x, 2), jnp.array_split(x, 3, axis=1)),
        "vsplit": lambda x: jnp.vsplit(x, 2),
        "block": lambda x: jnp.block([[x, 2 * x], [jnp.ones_like(x), 3 * x]]),
        "unstack": lambda x: jnp.unstack(x, axis=1),
        "concat_none": lambda x: jnp.concatenate([x, x], axis=None),
    }, bucket={"n": 4}),
    *table("numpy", N, {
        "gradient": lambda x: (jnp.gradient(x), jnp.gradient(x, 0.5)),
        "gradient_points": lambda x: jnp.gradient(x**2, jnp.cumsum(jnp.abs(x) + 0.5)),
        "pad_reflect": lambda x: (jnp.pad(x, 1, "reflect"), jnp.pad(x, (0, 1), "reflect")),
        "pad_symmetric": lambda x: jnp.pad(x, 1, "symmetric"),
        "pad_reflect_odd": lambda x: jnp.pad(x, 1, "reflect", reflect_type="odd"),
        "pad_statistics_of_two": lambda x: jnp.pad(x, 2, "mean", stat_length=2),
    }, constraints=("n >= 2",)),
]  # fmt: skip

ORDERS = [
    *table("numpy", TIES, {
        "argsort": lambda x: (jnp.argsort(x), jnp.argsort(x, descending=True)),
        "sort_descending": lambda x: jnp.sort(x, descending=True),
        "unique": lambda x: jnp.unique(x, size=6, return_index=True, return_counts=True),
        "unique_small": lambda x: jnp.unique(x, size=2, return_inverse=True),
        "unique_all": lambda x: jnp.unique_counts(x, size=7, fill_value=-9.0),
        "isin": lambda x: (jnp.isin(x, EDGES), jnp.isin(EDGES, x), jnp.isin(x, 1, invert=True)),
        "intersect1d": lambda x: jnp.intersect1d(x, EDGES, size=3, fill_value=-9.0),
        "union1d": lambda x: jnp.union1d(x, EDGES, size=9, fill_value=0.0),
        "setdiff1d": lambda x: jnp.setdiff1d(x, EDGES, size=4, fill_value=7.0),
        "setxor1d": lambda x: jnp.setxor1d(x, EDGES, size=6, fill_value=7.0),
        "setdiff1d_of_static": lambda x: jnp.setdiff1d(EDGES, x, size=4),
        "nonzero": lambda x: (*jnp.nonzero(x, size=4), jnp.flatnonzero(x, size=9, fill_value=-1)),
        "argwhere": lambda x: jnp.argwhere(x > 0, size=5, fill_value=-1),
        "where_size": lambda x: jnp.where(x > 0, size=5, fill_value=2),
        "compress": lambda x: jnp.compress(x > 0, x, size=1, fill_value=9.0),
        "extract": lambda x: jnp.extract(x > 0, x, size=x.shape[0], fill_value=9.0),
        "searchsorted": lambda x: jnp.searchsorted(jnp.sort(x), EDGES, side="right"),
        "piecewise": lambda x: jnp.piecewise(x, [x < 0, x > 1], [lambda y: -y, 4.0, jnp.sin]),
        "select": lambda x: jnp.select([x < -1, x > 1], [x * 2, x**2], default=0.5),
        "clip": lambda x: (jnp.clip(x, -1, 1), jnp.clip(x, max=0.0)),
        "heaviside": lambda x: (jnp.heaviside(x, 0.5), jnp.sign(x), jnp.signbit(x)),
        "put": lambda x: jnp.put(x, np.array([0]), 9.0, inplace=False),
        "top_of_sort": lambda x: jnp.sort(x)[-1] - jnp.sort(x)[0],
    }),
    *table("numpy", INTS, {
        "bincount": lambda i: jnp.bincount(i, length=4),
        "choose": lambda i: jnp.choose(i, [i, 2 * i, 3 * i], mode="clip"),
        "choose_wrap": lambda i: jnp.choose(i, [i, 2 * i, 3 * i], mode="wrap"),
        "bitwise": lambda i: (i & 3, i | 4, i ^ 1, ~i, i << 1, i >> 1, jnp.bitwise_count(i)),
        "gcd": lambda i: (jnp.gcd(i, 4), jnp.lcm(i, 6), jnp.divmod(i, 3), jnp.fmod(i, 2)),
        "unpackbits": lambda i: jnp.unpackbits(i.astype(np.uint8)),
        "packbits": lambda i: jnp.packbits(i > 0),
        "packbits_little": lambda i: jnp.packbits(i > 0, bitorder="little"),
        "view": lambda i: (i.view(np.float32), i.view(np.uint8)),
        "sum_wraps": lambda i: (jnp.sum(i.astype(np.int8) * 60), jnp.prod(i), jnp.mean(i)),
        "any_all": lambda i: (jnp.any(i > 1), jnp.all(i > -3), jnp.all(i, where=i > 0)),
        "argmax_ties": lambda i: (jnp.argmax(i), jnp.argmin(i), jnp.max(i), jnp.min(i)),
        "ufunc_reduce": lambda i: (jnp.add.reduce(i), jnp.maximum.reduce(i, initial=-9)),
        "ufunc_accumulate": lambda i: (jnp.add.accumulate(i), jnp.multiply.accumulate(i)),
        "ufunc_outer": lambda i: (jnp.subtract.outer(i, i), jnp.add.at(i, 0, 3, inplace=False)),
        "ufunc_reduceat": lambda i: jnp.add.reduceat(i, np.array([0, 0])),
    }),
    *table("numpy", (IDS, N), {
        "bincount_weighted": lambda i, w: jnp.bincount(i, weights=w, length=12),
        "take_by_ids": lambda i, x: (jnp.take(x, i, mode="wrap"), jnp.take(x, i, mode="fill")),
        "take_along": lambda i, x: jnp.take_along_axis(x, jnp.argsort(i), axis=0),
        "put_along": lambda i, x: jnp.put_along_axis(x, jnp.argsort(i), x, 0, inplace=False),
        "at_methods": lambda i, x: (x.at[i].add(1.0, mode="drop"), x.at[i].max(0.3), x.at[i].get()),
        "at_promised": lambda i, x: x.at[jnp.argsort(i)].add(x, unique_indices=True),
        "at_apply": lambda i, x: x.at[i].apply(jnp.sin),
    }),
    *table("numpy", M3, {
        "partition": lambda x: (jnp.partition(x, 1, axis=1)[:, 1], jnp.partition(x, 0, axis=0)[0]),
        "argpartition": lambda x: (jnp.argpartition(x, 1, 1)[:, 1], jnp.argpartition(x, 0, 0)[0]),
        "sort_axes": lambda x: (jnp.sort(x, 0), jnp.sort(x, None), jnp.argsort(x, axis=1)),
        "unique_rows": lambda x: jnp.unique(jnp.sign(x), axis=0, size=5),
        "lexsort_columns": lambda x: jnp.lexsort((x[:, 0], jnp.sign(x[:, 1]))),
        "argmax_axes": lambda x: (jnp.argmax(x, 0, keepdims=True), jnp.argmax(x), x.argmin(1)),
        "nonzero_two_axes": lambda x: jnp.nonzero(x > 0, size=7, fill_value=-1),
    }),
    Harness("numpy_isclose_pair", lambda x, y: (jnp.isclose(x, y, atol=0.5), x == y), (N, TIES)),
    Harness("numpy_logical", lambda a, b: (a & b, jnp.logical_xor(a, b), a.sum()), (BOOL, BOOL)),
]  # fmt: skip

HARNESSES = [*STATISTICS, *SHAPES, *ORDERS]
