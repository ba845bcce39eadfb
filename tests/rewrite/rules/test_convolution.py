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
