"""Forms equal the equations that they stand for: bits of integers, rounding of floats, NaN."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sod2jax import _compat
from sod2jax.schedule import forms
from sod2jax.target import Target

CPU = Target("cpu")
LAYOUTS = {
    1: [("NHC", "HIO", "NHC"), ("NCH", "OIH", "NCH")],
    2: [("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW"), ("NHWC", "OIHW", "NCHW")],
}


def reformed(fun: Any, *args: Any) -> tuple[list[Any], list[str]]:
    """The results of a function with forms, and what they are."""
    jaxpr = jax.make_jaxpr(fun)(*args)
    new, remarks = forms.reformed(jaxpr, CPU)
    assert (new is jaxpr) == (not remarks)
    return jax.jit(_compat.function_of(new))(*jax.tree.leaves(args)), [r.what for r in remarks]


def same(fun: Any, *args: Any, what: str = "", rtol: float = 2e-6) -> None:
    """Asserts that a function has a form, and that it gives what ``jax.jit`` gives."""
    seen, names = reformed(fun, *args)
    wanted = jax.tree.leaves(jax.jit(fun)(*args))
    assert any(what in name for name in names), names
    for a, b in zip(seen, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if not jnp.issubdtype(a.dtype, np.inexact):
            np.testing.assert_array_equal(a, b)
            continue
        x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
        scale = np.abs(y[np.isfinite(y)]).max(initial=0)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * scale)


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def arranged(array: jax.Array, axes: str, order: str) -> jax.Array:
    return array.transpose([axes.index(c) for c in order])


def depthwise(space: int, layout: Any, dtype: Any = np.float32, each: int = 1, **params: Any):
    """A depthwise convolution as a function, and its arguments."""
    size, window = (9, 8)[:space], (3, 2)[:space]
    x = arranged(normal(2, *size, 4, dtype=dtype), "NHWC" if space == 2 else "NHC", layout[0])
    w = arranged(
        normal(*window, 1, 4 * each, dtype=dtype, seed=1),
        "HWIO" if space == 2 else "HIO",
        layout[1],
    )
    params = {"window_strides": (1,) * space, "padding": "SAME", **params}
    return lambda x, w: lax.conv_general_dilated(
        x, w, dimension_numbers=layout, feature_group_count=4, **params
    ), (x, w)


@pytest.mark.parametrize("space", [1, 2])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"padding": "VALID"},
        {"window_strides": 2},
        {"rhs_dilation": 2},
        {"lhs_dilation": 2, "padding": (1, 2)},
        {"padding": (-1, 2)},
        {"each": 3},
        {"dtype": jnp.bfloat16},
    ],
    ids=str,
)
def test_depthwise(space: int, params: dict[str, Any]) -> None:
    params = {
        k: [v] * space if isinstance(v, tuple) else (v,) * space if "str" in k or "dil" in k else v
        for k, v in params.items()
    }
    layouts = LAYOUTS[space] if not params else LAYOUTS[space][:1]
    rtol = 1e-2 if params.get("dtype") == jnp.bfloat16 else 2e-6
    for layout in layouts:
        fun, args = depthwise(space, layout, **params)
        same(fun, *args, what="depthwise", rtol=rtol)


@pytest.mark.parametrize("space", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_gradients_of_depthwise(space: int, stride: int, dilation: int) -> None:
    fun, args = depthwise(
        space,
        LAYOUTS[space][0],
        window_strides=(stride,) * space,
        rhs_dilation=(dilation,) * space,
    )

    def gradient(x: Any, w: Any) -> Any:
        return jax.grad(lambda x, w: jnp.sin(fun(x, w)).sum(), (0, 1))(x, w)

    same(gradient, *args, what="weight gradient", rtol=1e-5)


def test_values_that_are_not_finite_meet_padding() -> None:
    fun, (x, w) = depthwise(2, LAYOUTS[2][0])
    same(fun, x, w.at[0, 0, 0, 1].set(np.inf), what="depthwise")
    same(fun, x.at[0, 3, 3, 0].set(np.nan).at[1, 0, 0, 2].set(-np.inf), w, what="depthwise")


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("layout", LAYOUTS[2])
def test_few_groups(groups: int, layout: Any) -> None:
    x = arranged(normal(2, 7, 6, 8), "NHWC", layout[0])
    w = arranged(normal(3, 3, 8 // groups, 12, seed=1), "HWIO", layout[1])
    same(
        lambda x, w: lax.conv_general_dilated(
            x, w, (1, 2), "SAME", dimension_numbers=layout, feature_group_count=groups
        ),
        x,
        w,
        what="groups apart",
    )


@pytest.mark.parametrize("layout", LAYOUTS[2])
def test_convolution_of_one_position(layout: Any) -> None:
    x = arranged(normal(2, 5, 6, 3), "NHWC", layout[0])
    w = arranged(normal(1, 1, 3, 4, seed=1), "HWIO", layout[1])
    same(
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout),
        x,
        w,
        what="matrix product",
    )


@pytest.mark.parametrize("window", [(1, 5, 5, 1), (1, 3, 4, 1), (2, 3, 3, 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_windows_that_overlap(window: Any, stride: int, padding: str, dtype: Any) -> None:
    x = (10 * normal(3, 9, 8, 40)).astype(dtype)
    if dtype == np.float32:
        x = x.at[1, 4, 4, 1].set(np.nan).at[0, 2, 3, 0].set(-np.inf)
    strides = (1, stride, 1, 1)
    least = -np.inf if dtype == np.float32 else np.iinfo(dtype).min
    most = np.inf if dtype == np.float32 else np.iinfo(dtype).max
    for monoid, identity in ((lax.max, least), (lax.min, most)):
        pool = functools.partial(
            lax.reduce_window,
            init_value=np.array(identity, dtype),
            computation=monoid,
            window_dimensions=window,
            window_strides=strides,
            padding=padding,
        )
        same(pool, x, what="one axis after the other", rtol=0)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((0, 0), (3, 1), (0, 2), (0, 0))])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_windows_that_move_by_several_lanes(padding: Any, dtype: Any) -> None:
    x = (10 * normal(2, 9, 8, 5)).astype(dtype)
    if dtype == np.float32:
        x = x.at[1, 4, 4, 1].set(np.nan).at[0, 2, 3, 0].set(-np.inf)
    for dilation in (1, 2):
        pool = lambda x, d=dilation: lax.reduce_window(  # noqa: E731
            x,
            np.array(-np.inf if dtype == np.float32 else np.iinfo(dtype).min, dtype),
            lax.max,
            (1, 3, 3, 1),
            (1, 2, 2, 1),
            padding,
            window_dilation=(1, d, 1, 1),
        )
        same(pool, x, what="by their positions", rtol=0)


def test_windows_that_do_not_overlap() -> None:
    x = normal(2, 9, 8, 40)
    pool = lambda x: lax.reduce_window(  # noqa: E731
        x, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
    )
    same(pool, x, what="positions", rtol=0)
    same(jax.vmap(pool), normal(2, 1, 6, 6, 2), what="positions", rtol=0)
    ((seen,), _) = reformed(pool, x.at[1, 4, 4, 1].set(np.nan))
    assert np.isnan(seen[1, 2, 2, 1]) and np.isnan(seen).sum() == 1  # XLA's own may pass over it


SIZES = (64, 100, 255, 256, 257, 2000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_of_extremes(size: int, name: str) -> None:
    find = getattr(jnp, name)
    rng = np.random.default_rng(size)
    rows = {
        "random": rng.normal(size=size),
        "ties": rng.integers(0, 3, size),
        "last": np.eye(1, size, size - 1)[0] * (1 if name == "argmax" else -1),
        "one value": np.zeros(size),
        "infinite": np.full(size, -np.inf if name == "argmax" else np.inf),
        "nan": np.where(rng.random(size) < 0.01, np.nan, rng.normal(size=size)),
        "infinite and nan": np.where(np.arange(size) == size // 2, np.nan, np.inf),
        "zeros of both signs": np.where(np.arange(size) % 2, 0.0, -0.0),
    }
    x = jnp.asarray(np.stack(list(rows.values())), np.float32)
    finite = jnp.tile(x[:4], (40, 1))
    for values in (
        jnp.tile(x, (20, 1)),
        finite,
        finite.at[5].set(x[4]),
        finite.astype(jnp.bfloat16),
    ):
        same(lambda x: find(x, -1), values, what=name)
    same(lambda x: find(x, 1), finite.reshape(4, 40, size).transpose(0, 2, 1), what=name)


@pytest.mark.parametrize("lane", [0, 17, 7871, 7935, 7999])
def test_a_position_among_many_lanes(lane: int) -> None:
    """Blocks of 128 lanes do not end where these rows do; XLA's own maxima may pass over NaN."""
    x = normal(70, 8000)
    for values in (x.at[:, lane].set(9), x.at[3, lane].set(np.nan), x.at[:, lane:].set(np.inf)):
        same(lambda x: jnp.argmax(x, -1), values, what="blocks")
        same(lambda x: jnp.argmin(x, 0), -values.T, what="blocks")


@pytest.mark.parametrize("m, k, n", [*itertools.product((1, 4, 8), (2, 16), (1, 3, 8))])
def test_small_products(m: int, k: int, n: int) -> None:
    x, y = normal(70, m, k), normal(k, 70, n, seed=1)
    x = x.at[3, 0, 0].set(np.inf).at[4, 0, 1].set(np.nan)
    same(lambda x, y: jnp.einsum("bmk,kbn->nbm", x, y), x, y, what="small products")


@pytest.mark.parametrize("spec", ["bhst,bthd->bshd", "bst,btd->sbd", "hbst,bthde->bdshe"])
def test_operands_of_a_product_that_is_transposed(spec: str) -> None:
    first, second = spec.split("->")[0].split(",")
    sizes = dict(zip("bhstde", (70, 3, 5, 9, 20, 2), strict=True))
    p, v = (normal(*(sizes[c] for c in s), seed=k) for k, s in enumerate((first, second)))
    if spec.endswith("bshd"):
        same(lambda p, v: jnp.einsum(spec, p * 2, v), p, v, what="exchanged")
    else:
        reformed(lambda p, v: jnp.einsum(spec, p * 2, v), p, v)
    fun = lambda p, v: lax.dot_general(  # noqa: E731
        v, p * 2, (((1,), (2,)), ((0,), (0,)))
    ).transpose(2, 0, 1)
    same(fun, normal(70, 5, 40), normal(70, 40, 20), what="exchanged")


def test_operands_with_other_readers_keep_their_order() -> None:
    def twice(p: Any, v: Any) -> Any:
        p = jnp.exp(p)
        return jnp.einsum("bhst,bthd->bshd", p, v), p.sum()

    assert reformed(twice, normal(2, 3, 40, 50), normal(2, 50, 3, 40))[1] == []


def test_operands_that_others_read_before_a_mask_keep_their_order() -> None:
    """As in gradients, where each reader has a mask of its own."""

    def product(p: Any, v: Any) -> Any:
        below = lax.broadcasted_iota(np.int32, p.shape, 3) < 40
        return jnp.einsum("bhst,bthd->bshd", lax.select(below, p, jnp.zeros_like(p)), v)

    args = normal(2, 3, 40, 50), normal(2, 50, 3, 40)
    same(lambda p, v: product(jnp.exp(p), v), *args, what="exchanged")

    def twice(p: Any, v: Any) -> Any:
        p = jnp.exp(p)
        return product(p, v), p.sum()

    assert reformed(twice, *args)[1] == []


def test_forms_inside_loops() -> None:
    def step(x: Any, _: Any) -> Any:
        return jnp.where(jnp.argmax(x, -1, keepdims=True) % 2 == 0, x * 1.5, -x), None

    same(lambda x: lax.scan(step, x, length=3)[0], normal(128, 64), what="argmax")
    same(lambda x: lax.fori_loop(0, 2, lambda _, c: step(c, None)[0], x), normal(128, 64))


@pytest.mark.parametrize("layout", [*LAYOUTS[1][1:], *LAYOUTS[2][1:]])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_in_bodies_have_their_features_last(layout: Any, groups: int) -> None:
    names = "NHWC" if len(layout[0]) == 4 else "NHC"
    size, window = (9, 8)[: len(names) - 2], (3, 2)[: len(names) - 2]
    x = arranged(normal(2, *size, 4), names, layout[0]).at[1, 1, 1].set(np.inf)
    w = arranged(normal(*window, 4 // groups, 4, seed=1), names[1:-1] + "IO", layout[1])

    def step(x: Any, w: Any) -> Any:
        out = lax.conv_general_dilated(
            x, w, (1,) * len(size), "SAME", None, None, layout, feature_group_count=groups
        )
        return jnp.tanh(out).transpose([layout[2].index(c) for c in layout[0]])

    def scan(x: Any, w: Any) -> Any:
        return lax.scan(lambda c, _: (step(c, w), None), x, length=2)[0]

    def branch(x: Any, w: Any) -> Any:
        return lax.cond(x.sum() > 0, jax.jit(step), lambda x, w: x, x, w)

    what = "features last" if groups == 1 else "groups"
    same(scan, x, w, what=what)
    same(branch, x, w, what=what)
    same(jax.grad(lambda x, w: scan(x, w).sum(), (0, 1)), normal(*x.shape), w, what="features last")
    assert not any("body" in name for name in reformed(jax.jit(step), x, w)[1])


def test_what_is_best_as_it_is_stays() -> None:
    x, w = normal(1, 8, 8, 3), normal(3, 3, 3, 4)
    conv = lambda x, w: lax.conv_general_dilated(  # noqa: E731
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert reformed(conv, x, w)[1] == []
    assert reformed(lambda x: jnp.argmax(x, -1), normal(9, 8))[1] == []
    assert reformed(lambda x: x @ x.T, normal(9, 8))[1] == []
    pool = lambda x: lax.reduce_window(x, -np.inf, lax.max, (3,), (1,), "SAME")  # noqa: E731
    assert reformed(pool, normal(9))[1] == []


def test_numbers_of_8_bits_stay() -> None:
    x = normal(70, 300).astype(jnp.float8_e4m3fn)
    assert reformed(lambda x: jnp.argmax(x, -1), x)[1] == []
    y = normal(70, 4, 4).astype(jnp.float8_e4m3fn)
    dot = lambda y: lax.dot_general(y, y, (((2,), (1,)), ((0,), (0,))))  # noqa: E731
    assert reformed(dot, y)[1] == []


def test_other_platforms_keep_their_equations() -> None:
    fun, args = depthwise(2, LAYOUTS[2][0])
    jaxpr = jax.make_jaxpr(fun)(*args)
    assert forms.reformed(jaxpr, Target("gpu")) == (jaxpr, ())
