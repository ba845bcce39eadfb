"""Whole programs of several classes, whose versions are compared.

What many of them have in common: values much larger than all that goes in or comes out. The last
ones are public reports of programs that take much memory.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.bench import builtin
from sod2jax.bench.builtin import EncoderConfig
from sod2jax.bench.plan_programs import Planned, Sizes, gradient, planned
from sod2jax.bench.programs import Arguments

_ENCODER = EncoderConfig(4, 256, 4, 1024, 1024, 8192)


@functools.cache
def _encoder_weights(stacked: bool) -> Any:
    """Made when they are needed; with all layers in one array for each weight, if ``stacked``."""
    params = builtin.init(_ENCODER, np.random.default_rng(0))
    if stacked:
        layers = jax.tree.map(lambda *arrays: np.stack(arrays), *params["layers"])
        params = {**params, "layers": layers}
    return params


def _scanned(params: Any, ids: jax.Array) -> jax.Array:
    """The encoder with its layers in one scan."""
    x = builtin.embedded(params, ids)
    x, _ = lax.scan(lambda x, layer: (builtin.block(layer, x), None), x, params["layers"])
    return builtin.normalise(x)


def _encoder(
    length: int, *, batch: int = 1, grad: bool = False, scan: bool = False, long: bool = False
) -> Planned:
    states = _scanned if scan else builtin.encoder

    def loss(params: Any, ids: jax.Array) -> Any:
        # Of normalised states: a mean of squares would be a constant.
        return jax.value_and_grad(lambda p: jnp.mean(jnp.sin(states(p, ids))))(params)

    def arguments(rng: np.random.Generator, sizes: Sizes) -> Arguments:
        ids = rng.integers(1, _ENCODER.vocabulary, (batch, sizes["n"]), dtype=np.int32)
        return _encoder_weights(scan), ids

    words = ("scanned" if scan else "", "encoder", "gradient" if grad else "")
    size = str(length) if batch == 1 else f"{batch}x{length}"
    return Planned(
        " ".join([*filter(None, words), size]),
        loss if grad else states,
        (None, f"{batch}, n"),
        arguments,
        {"n": length},
        {"n": 2 * length // 3},
        long=long,
    )


def _clipped_gradients(x: jax.Array, y: jax.Array, w: jax.Array, v: jax.Array) -> Any:
    """Gradients of every example, each clipped to norm 1, summed."""

    def loss(weights: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        w, v = weights
        return jnp.mean((jnp.tanh(x @ w) @ v - y) ** 2)

    grads = jax.vmap(jax.grad(loss), (None, 0, 0))((w, v), x, y)
    norms = jnp.sqrt(sum(jnp.sum(g**2, (1, 2)) for g in grads))
    factors = jnp.minimum(1, 1 / norms)[:, None, None]
    return [jnp.sum(g * factors, 0) for g in grads]


def _hessians(x: jax.Array, w: jax.Array, v: jax.Array) -> jax.Array:
    """Of a small network at every example."""
    return jax.vmap(jax.hessian(lambda x: jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ v))))(x)


def _cross_entropy(x: jax.Array, w: jax.Array) -> jax.Array:
    scores = x @ w
    return jnp.mean(jax.nn.logsumexp(scores, -1) - scores[:, 0])


def _kernel(x: jax.Array, y: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.sum((x[:, None] - y[None]) ** 2, -1)) @ v


def _distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Squared, less the norms of ``x``."""
    return jnp.sum(y**2, -1)[None] - 2 * x @ y.T


def _kernel_by_norms(x: jax.Array, y: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.exp(-(_distances(x, y) + jnp.sum(x**2, -1)[:, None])) @ v


def _nearest(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.argmin(_distances(x, y), -1)


def _nearest_ones(x: jax.Array, y: jax.Array) -> Any:
    return lax.top_k(-_distances(x, y), 8)


def _bodies(x: jax.Array) -> jax.Array:
    apart = x[:, None] - x[None]
    return jnp.sum(apart * (jnp.sum(apart**2, -1, keepdims=True) + 1e-3) ** -1.5, 1)


def _wide(x: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
    return jax.nn.gelu(x @ up) @ down


def _mixer(x: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
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


def _read_and_write(x: jax.Array) -> Any:
    """openxla/xla 20440: two copies of all, for one element that is read before it is written."""
    return lax.scan(lambda x, k: (x.at[0, k].add(1), x[0, k]), x, jnp.arange(8))


def _pull(x: jax.Array, y: jax.Array, mass: jax.Array, axis: int = 1) -> jax.Array:
    """openxla/xla 49131: gravity, a reduction over one side of all pairs."""
    apart = x[:, None] - y[None]
    distance = jnp.sqrt(jnp.sum(apart * apart, -1, keepdims=True))
    return jnp.sum(mass[None, :, None] * apart / (distance * distance * distance), axis)


_PAIRS = "n,3;4000,3;4000"
_POINTS = "n,8;6000,8;6000,1"
_TO_WORDS = ((256, 50_000),)

CLASSES = (
    *(_encoder(n, long=n > 2048) for n in (384, 512, 1024, 2048, 8192)),
    _encoder(512, batch=4),
    *(_encoder(n, grad=True, long=n > 1024) for n in (512, 1024, 2048)),
    _encoder(512, batch=4, grad=True, long=True),
    _encoder(1024, scan=True),
    _encoder(1024, scan=True, grad=True),
    planned(
        "clipped gradients", _clipped_gradients, "n,256;n,64", 512, 400, ((256, 512), (512, 64))
    ),
    planned("hessians", _hessians, "n,32", 1000, 700, ((32, 64), (64, 16))),
    planned("cross-entropy", _cross_entropy, "n,256", 1024, 800, _TO_WORDS),
    planned(
        "cross-entropy gradient", jax.grad(_cross_entropy, (0, 1)), "n,256", 1024, 800, _TO_WORDS
    ),
    planned("kernel matrix", _kernel, _POINTS, 4000, 3000),
    planned("kernel matrix by norms", _kernel_by_norms, _POINTS, 4000, 3000),
    planned("kernel matrix gradient", gradient(_kernel, (0, 1, 2)), _POINTS, 4000, 3000),
    planned("N-body", _bodies, "n,3", 3000, 2000),
    planned("nearest neighbour", _nearest, "n,16;4000,16", 4000, 3000),
    planned("top k of distances", _nearest_ones, "n,16;4000,16", 4000, 3000),
    planned("wide MLP", _wide, "n,256", 8192, 6000, ((256, 2048), (2048, 256))),
    planned("mixer", _mixer, "4,n,128", 784, 600, ((128, 512), (512, 128))),
    planned("Monte Carlo", _paths, "n,252", 20_000, 15_000),
    planned("short minor axis", lambda x: jnp.exp(-x * x).sum(1), "64,n,8", 512, 400),
    planned("sorts", _many_sorts, "n", 1 << 20, 1 << 19),
    planned("pairwise counts (xla 35719)", _pairwise_counts, "n,9", 1 << 20, 1 << 19),
    planned("read and write (xla 20440)", _read_and_write, "n,3000", 3000, 2000),
    planned("pairs, over rows (xla 49131)", _pull, _PAIRS, 3000, 2000),
    planned(
        "pairs, over columns (xla 49131)", functools.partial(_pull, axis=0), _PAIRS, 3000, 2000
    ),
    planned("pairs, gradient (xla 49131)", gradient(_pull, (0, 1, 2)), _PAIRS, 3000, 2000),
)
