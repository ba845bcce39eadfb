"""Masks before convolutions: none where each window is computed from its own true lanes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax.target import Target

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype(np.float32)
BUCKETS = {"b": (3,), "s": (9,)}
LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolved(stride: int, padding: Any) -> Any:
    """Of x + 1, so that pad lanes hold something."""

    def fun(x: Any) -> Any:
        return lax.conv_general_dilated(
            x + 1, KERNEL, (stride, stride), padding, dimension_numbers=LAYOUT
        )

    return fun


def masked_axes(fun: Any, poison: Any = False) -> list[str]:
    """The axes that are masked before a convolution of [1, 2h, w, 4]; checks the results."""
    f = sod2jax.optimize(
        fun,
        shapes=("1, 2*h, w, 4",),
        constraints=("w >= 3", "h >= 2"),
        buckets={"h": (6,), "w": (11,)},
        poison=poison,
        on_unsupported="error",
    )
    for h, w in ((2, 3), (5, 7), (5, 8), (6, 11)):
        x = np.random.default_rng(h).normal(size=(1, 2 * h, w, 4)).astype(np.float32)
        x[0, -1, -1, 0], x[0, 0, 1, 2] = np.inf, np.nan
        np.testing.assert_allclose(f(x), jax.jit(fun)(x), rtol=2e-5, atol=2e-5)
    masks = f.planner.specialisations[0].ready[0].masks
    return sorted(str(d) for m in masks if m.emitted for d in m.axes)


@pytest.mark.parametrize("poison", [False, "deep", "inside"])
@pytest.mark.parametrize(
    ("stride", "padding", "axes"),
    [
        (1, "VALID", ["2*h", "w"]),  # fast algorithms mix neighbouring windows
        (2, "VALID", []),
        (3, "VALID", []),
        (2, ((1, 1), (1, 1)), ["w"]),  # where w is odd, the last window passes the end
        (2, ((1, 1), (0, 0)), []),
    ],
)
def test_strided_windows_in_true_lanes_need_no_mask(
    stride: int, padding: Any, axes: list[str], poison: Any
) -> None:
    assert masked_axes(convolved(stride, padding), poison) == axes


def test_a_target_that_mixes_them_has_its_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "mixes_strided_windows", True)
    assert masked_axes(convolved(2, "VALID")) == ["2*h", "w"]


def weight_gradient(**params: Any) -> Any:
    """Of a convolution, by its operand and the gradient of its result: that one is the kernel."""

    def fun(x: Any, g: Any) -> Any:
        weights = np.zeros((3, x.shape[-1] // params.get("feature_group_count", 1), 4), x.dtype)

        def convolve(w: Any) -> Any:
            numbers = ("NHC", "HIO", "NHC")
            return lax.conv_general_dilated(
                x, w, (1,), ((1, 1),), dimension_numbers=numbers, **params
            )

        return jax.linear_transpose(convolve, weights)(g)[0]

    return fun


@pytest.mark.parametrize("where", [None, 0, 1, -2, -1])
@pytest.mark.parametrize("params", [{}, {"feature_group_count": 4}, {"rhs_dilation": (2,)}])
def test_zeros_of_a_long_kernel_meet_no_infinity(params: Any, where: int | None) -> None:
    fun = weight_gradient(**params)
    shrink = 2 * params.get("rhs_dilation", (1,))[0] - 2
    results: list[Any] = []
    for poison in (False, True, "deep"):
        f = sod2jax.optimize(
            fun,
            shapes=("b, s, 4", f"b, s - {shrink}, 4" if shrink else "b, s, 4"),
            constraints=("s >= 4",),
            buckets=BUCKETS,
            poison=poison,
            on_unsupported="error",
        )
        for s in (5, 8, 9):
            rng = np.random.default_rng(s)
            x = rng.normal(size=(2, s, 4)).astype(np.float32)
            g = rng.normal(size=(2, s - shrink, 4)).astype(np.float32)
            if where is not None:
                x[0, where, 1], x[1, where, 2], g[0, where, 3] = np.inf, np.nan, -np.inf
            results.append(np.asarray(f(x, g)))
            np.testing.assert_allclose(results[-1], jax.jit(fun)(x, g), rtol=2e-5, atol=2e-5)
    clean, *poisoned = (results[k : k + 3] for k in (0, 3, 6))
    for seen in poisoned:
        for a, b in zip(clean, seen, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_kernel_of_integers_slides_without_a_branch() -> None:
    fun = weight_gradient()
    f = sod2jax.optimize(fun, shapes=("b, s, 4",) * 2, buckets=BUCKETS, poison=True)
    x, g = np.random.default_rng(0).integers(-9, 9, (2, 2, 7, 4), np.int32)
    np.testing.assert_array_equal(f(x, g), jax.jit(fun)(x, g))
    (executable,) = f.planner.specialisations[0].ready
    assert "cond" not in str(executable.jaxpr)
