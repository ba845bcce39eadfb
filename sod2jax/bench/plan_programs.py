"""Programs whose versions are compared: single operations, and whole programs of several classes.

They follow what users report: depthwise convolutions, pools and positions of extremes are slow on a
CPU, wide programs take much memory (openxla/xla 35719), pairs are materialised (49131).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.bench import builtin
from sod2jax.bench.builtin import EncoderConfig
from sod2jax.bench.programs import Arguments, Program, floats

_NHWC = ("NHWC", "HWIO", "NHWC")
_NHC = ("NHC", "HIO", "NHC")


@dataclasses.dataclass(frozen=True)
class Planned:
    """A program and the sizes that it is run at.

    Attributes:
      program: a function of one symbol, n.
      bucket: the size that it is compiled for.
      smaller: a true size below.
    """

    program: Program
    bucket: int
    smaller: int

    @property
    def name(self) -> str:
        """Of the program, with its bucket."""
        return f"{self.program.name} {self.bucket}"


def _planned(
    name: str,
    fun: Callable[..., Any],
    specs: str,
    bucket: int,
    smaller: int,
    fixed: tuple[tuple[int, ...], ...] = (),
) -> Planned:
    """A program of float arrays: ``specs`` of the varying ones, by ";", and shapes of weights."""
    varying = [spec.strip() for spec in specs.split(";")]

    def arguments(rng: np.random.Generator, n: int) -> Arguments:
        sizes = [[n if d == "n" else int(d) for d in spec.split(",")] for spec in varying]
        return (*(floats(rng, *s) for s in sizes), *(floats(rng, *s) for s in fixed))

    shapes = (*varying, *[None] * len(fixed))
    return Planned(Program(name, fun, shapes, arguments), bucket, smaller)


def _convolution(numbers: Any, groups: int) -> Callable[..., jax.Array]:
    def convolution(x: jax.Array, w: jax.Array) -> jax.Array:
        strides = (1,) * (x.ndim - 2)
        return lax.conv_general_dilated(
            x, w, strides, "SAME", dimension_numbers=numbers, feature_group_count=groups
        )

    return convolution


def _gradient(fun: Callable[..., jax.Array]) -> Callable[..., Any]:
    return jax.grad(lambda *args: jnp.sum(jnp.sin(fun(*args))), (0, 1))


def _pool(window: int, stride: int) -> Callable[[jax.Array], jax.Array]:
    def pool(x: jax.Array) -> jax.Array:
        sizes = (1, window, window, 1), (1, stride, stride, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, *sizes, "SAME" if stride == 1 else "VALID")

    return pool


def _value_product(p: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.einsum("bhst,bthd->bshd", jax.nn.softmax(p), v)


def _encoder(length: int, smaller: int, gradient: bool) -> Planned:
    config = EncoderConfig(4, 256, 4, 1024, 1024, 8192)
    params = builtin.init(config, np.random.default_rng(0))

    def loss(params: Any, ids: jax.Array) -> Any:
        # Of normalised states: a mean of squares would be a constant.
        return jax.value_and_grad(lambda p: jnp.mean(jnp.sin(builtin.encoder(p, ids))))(params)

    def arguments(rng: np.random.Generator, n: int) -> Arguments:
        return params, rng.integers(1, 1024, (1, n), dtype=np.int32)

    name, fun = ("encoder gradient", loss) if gradient else ("encoder", builtin.encoder)
    return Planned(Program(name, fun, (None, "1, n"), arguments), length, smaller)


def _clipped_gradients(x: jax.Array, y: jax.Array, w: jax.Array, v: jax.Array) -> Any:
    """Gradients of every example, each clipped to norm 1, summed."""

    def loss(weights: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        w, v = weights
        return jnp.mean((jnp.tanh(x @ w) @ v - y) ** 2)

    grads = jax.vmap(jax.grad(loss), (None, 0, 0))((w, v), x, y)
    norms = jnp.sqrt(sum(jnp.sum(g**2, (1, 2)) for g in grads))
    factors = jnp.minimum(1, 1 / norms)[:, None, None]
    return [jnp.sum(g * factors, 0) for g in grads]


def _cross_entropy(x: jax.Array, w: jax.Array) -> jax.Array:
    scores = x @ w
    return jnp.mean(jax.nn.logsumexp(scores, -1) - scores[:, 0])


def _kernel(x: jax.Array, y: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.sum((x[:, None] - y[None]) ** 2, -1)) @ v


def _bodies(x: jax.Array) -> jax.Array:
    apart = x[:, None] - x[None]
    return jnp.sum(apart * (jnp.sum(apart**2, -1, keepdims=True) + 1e-3) ** -1.5, 1)


def _nearest(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.argmin(jnp.sum(y**2, -1)[None] - 2 * x @ y.T, -1)


def _mixer(x: jax.Array, *weights: jax.Array) -> jax.Array:
    up, down = weights
    mixed = x + jnp.mean(x, 1, keepdims=True)
    return x + jax.nn.gelu(mixed @ up) @ down


def _paths(x: jax.Array) -> jax.Array:
    return jnp.mean(jnp.maximum(jnp.exp(jnp.cumsum(0.01 * x, 1)).mean(1) - 1, 0))


def _many_sorts(x: jax.Array) -> jax.Array:
    return sum(jnp.sort(x * k)[::7].sum() for k in range(1, 11))  # type: ignore[return-value]


def _pairwise_counts(x: jax.Array) -> jax.Array:
    """openxla/xla 35719: joint histograms of all pairs of columns."""
    bins = jnp.clip((4 * x + 16).astype(np.int32), 0, 31)
    pairs = [bins[:, i] * 32 + bins[:, j] for i in range(9) for j in range(i)]
    return jnp.stack([jnp.bincount(p, length=1024) for p in pairs])


def _reduced_pairs(x: jax.Array, y: jax.Array) -> jax.Array:
    """openxla/xla 49131: a reduction over one side of all pairs."""
    return jnp.max(jnp.tanh(x[:, None] - y[None]), 1)


FORMS = (
    _planned("depthwise 2-d", _convolution(_NHWC, 128), "8,n,n,128", 28, 20, ((3, 3, 1, 128),)),
    _planned("depthwise 1-d", _convolution(_NHC, 144), "1,n,144", 400, 300, ((31, 1, 144),)),
    _planned(
        "depthwise gradient",
        _gradient(_convolution(_NHWC, 128)),
        "8,n,n,128",
        28,
        20,
        ((3, 3, 1, 128),),
    ),
    _planned("4 groups", _convolution(_NHWC, 4), "1,n,n,128", 28, 20, ((3, 3, 32, 128),)),
    _planned("one position", _convolution(_NHWC, 1), "8,n,n,128", 28, 20, ((1, 1, 128, 128),)),
    _planned("max pool 5x5", _pool(5, 1), "8,n,n,64", 56, 40),
    _planned("max pool 2x2", _pool(2, 2), "8,n,n,64", 56, 40),
    _planned("argmax", lambda x: jnp.argmax(x, -1), "n,8000", 1000, 700),
    _planned("products of 4x4", lambda x, y: x @ y, "n,4,4;n,4,4", 8000, 6000),
    _planned("value product", _value_product, "1,4,n,n;1,n,4,64", 384, 300),
)
CLASSES = (
    *(_encoder(n, 2 * n // 3, False) for n in (384, 512, 1024, 2048)),
    *(_encoder(n, 2 * n // 3, True) for n in (512, 1024)),
    _planned(
        "clipped gradients",
        _clipped_gradients,
        "n,256;n,64",
        512,
        400,
        ((256, 512), (512, 64)),
    ),
    _planned("cross-entropy", _cross_entropy, "n,256", 1024, 800, ((256, 50_000),)),
    _planned("kernel matrix", _kernel, "n,8;6000,8;6000,1", 4000, 3000),
    _planned("N-body", _bodies, "n,3", 3000, 2000),
    _planned("nearest neighbour", _nearest, "n,16;4000,16", 4000, 3000),
    _planned("mixer", _mixer, "4,n,128", 784, 600, ((128, 512), (512, 128))),
    _planned("Monte Carlo", _paths, "n,252", 20_000, 15_000),
    _planned("short minor axis", lambda x: jnp.exp(-x * x).sum(1), "64,n,8", 512, 400),
    _planned("sorts", _many_sorts, "n", 1 << 20, 1 << 19),
    _planned("pairwise counts (xla 35719)", _pairwise_counts, "n,9", 1 << 20, 1 << 19),
    _planned("reduced pairs (xla 49131)", _reduced_pairs, "n;4000", 4000, 3000),
)
PLANNED = (*FORMS, *CLASSES)
