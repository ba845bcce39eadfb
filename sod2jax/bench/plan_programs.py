"""What a program is whose versions are compared; single operations.

They follow what users report: depthwise convolutions, pools and positions of extremes are slow on a
CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.bench.programs import Arguments, floats

Sizes = Mapping[str, int]

_NHWC = ("NHWC", "HWIO", "NHWC")
_NHC = ("NHC", "HIO", "NHC")


@dataclasses.dataclass(frozen=True)
class Planned:
    """A program and the sizes that it is run at.

    Attributes:
      name: what to call it in tables.
      fun: the function, written for exact shapes.
      shapes: specs of its arguments.
      arguments: (generator, sizes) -> its arguments.
      bucket: the sizes that it is compiled for, by symbol.
      smaller: true sizes below.
      constraints: on its symbols.
      long: whether one run takes seconds.
    """

    name: str
    fun: Callable[..., Any] = dataclasses.field(repr=False)
    shapes: tuple[str | None, ...]
    arguments: Callable[[np.random.Generator, Sizes], Arguments] = dataclasses.field(repr=False)
    bucket: Sizes
    smaller: Sizes
    constraints: tuple[str, ...] = ()
    long: bool = False


def planned(
    name: str,
    fun: Callable[..., Any],
    specs: str,
    bucket: int,
    smaller: int,
    fixed: tuple[tuple[int, ...], ...] = (),
) -> Planned:
    """A program of float arrays: ``specs`` of the varying ones, by ";", and shapes of weights."""
    varying = [spec.strip() for spec in specs.split(";")]

    def arguments(rng: np.random.Generator, at: Sizes) -> Arguments:
        sizes = [[at["n"] if d == "n" else int(d) for d in spec.split(",")] for spec in varying]
        return tuple(floats(rng, *shape) for shape in (*sizes, *fixed))

    shapes = (*varying, *[None] * len(fixed))
    sizes = {"n": bucket}, {"n": smaller}
    return Planned(f"{name} {bucket}", fun, shapes, arguments, *sizes)


def _convolution(numbers: Any, groups: int) -> Callable[..., jax.Array]:
    def convolution(x: jax.Array, w: jax.Array) -> jax.Array:
        strides = (1,) * (x.ndim - 2)
        return lax.conv_general_dilated(
            x, w, strides, "SAME", dimension_numbers=numbers, feature_group_count=groups
        )

    return convolution


def gradient(fun: Callable[..., jax.Array], argnums: tuple[int, ...] = (0, 1)) -> Any:
    """Of a sum over the results of ``fun``."""
    return jax.grad(lambda *args: jnp.sum(jnp.sin(fun(*args))), argnums)


def _pool(window: int, stride: int) -> Callable[[jax.Array], jax.Array]:
    def pool(x: jax.Array) -> jax.Array:
        sizes = (1, window, window, 1), (1, stride, stride, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, *sizes, "SAME" if stride == 1 else "VALID")

    return pool


def _value_product(p: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.einsum("bhst,bthd->bshd", jax.nn.softmax(p), v)


_DEPTHWISE = _convolution(_NHWC, 128)

FORMS = (
    planned("depthwise 2-d", _DEPTHWISE, "8,n,n,128", 28, 20, ((3, 3, 1, 128),)),
    planned("depthwise 1-d", _convolution(_NHC, 144), "1,n,144", 400, 300, ((31, 1, 144),)),
    planned("depthwise gradient", gradient(_DEPTHWISE), "8,n,n,128", 28, 20, ((3, 3, 1, 128),)),
    planned("4 groups", _convolution(_NHWC, 4), "1,n,n,128", 28, 20, ((3, 3, 32, 128),)),
    planned("one position", _convolution(_NHWC, 1), "8,n,n,128", 28, 20, ((1, 1, 128, 128),)),
    planned("max pool 5x5", _pool(5, 1), "8,n,n,64", 56, 40),
    planned("max pool 2x2", _pool(2, 2), "8,n,n,64", 56, 40),
    planned("argmax", lambda x: jnp.argmax(x, -1), "n,8000", 1000, 700),
    planned("products of 4x4", lambda x, y: x @ y, "n,4,4;n,4,4", 8000, 6000),
    planned("value product", _value_product, "1,4,n,n;1,n,4,64", 384, 300),
)
