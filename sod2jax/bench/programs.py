"""Ten ordinary programs, small and of several kinds, whose first calls are timed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.bench import builtin

Arguments = tuple[Any, ...]
MOST = 64  # the largest size of every program


@dataclasses.dataclass(frozen=True)
class Program:
    """A function, and how it is called at a size ``n``.

    Attributes:
      name: what to call it in tables.
      fun: the function, written for exact shapes.
      shapes: specs of its arguments, with the symbol n.
      arguments: (generator, n) -> its arguments.
    """

    name: str
    fun: Callable[..., Any]
    shapes: tuple[str | None, ...]
    arguments: Callable[[np.random.Generator, int], Arguments]


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers."""
    return rng.standard_normal(shape).astype(np.float32)


def _mlp(weights: Any, x: jax.Array, y: jax.Array) -> Any:
    def loss(weights: Any) -> jax.Array:
        h = x
        for w in weights:
            h = jax.nn.gelu((h - h.mean(-1, keepdims=True)) / (h.std(-1, keepdims=True) + 1e-5) @ w)
        return jnp.mean((h.sum(-1) - y) ** 2)

    return jax.value_and_grad(loss)(weights)


_ENCODER = builtin.build("tiny", batch=1, requests=1, seed=0)


def _encoder_loss(params: Any, ids: jax.Array) -> Any:
    def loss(params: Any) -> jax.Array:
        scores = builtin.encoder(params, ids) @ params["tokens"].T
        picked = jnp.take_along_axis(jax.nn.log_softmax(scores[:, :-1]), ids[:, 1:, None], -1)
        return -picked.mean()

    return jax.value_and_grad(loss)(params)


def _ids(rng: np.random.Generator, n: int) -> Arguments:
    return _ENCODER.params, rng.integers(1, 128, (2, n), dtype=np.int32)


def _lstm(weights: jax.Array, x: jax.Array) -> Any:
    def step(state: Any, x: jax.Array) -> Any:
        h, c = state
        i, f, g, o = jnp.split(jnp.concatenate([x, h]) @ weights, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return lax.scan(step, (jnp.zeros(16), jnp.zeros(16)), x)[1]


def _lstm_loss(weights: jax.Array, x: jax.Array) -> Any:
    return jax.grad(lambda w: jnp.sum(_lstm(w, x) ** 2))(weights)


def _convolutions(kernels: Any, x: jax.Array) -> jax.Array:
    for kernel in kernels:
        x = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu((x - x.mean((1, 2), keepdims=True)) * 0.5)
    return x.mean((1, 2))


def _ranking(scores: jax.Array, labels: jax.Array) -> Any:
    order = jnp.argsort(-scores)
    gains = jnp.cumsum(labels[order]) / jnp.arange(1, scores.shape[0] + 1)
    return lax.top_k(scores, 1), gains, jnp.median(scores), jnp.unique_counts(labels, size=4)


def _messages(weights: jax.Array, nodes: jax.Array, edges: jax.Array) -> jax.Array:
    for _ in range(3):
        sent = jax.nn.silu(nodes[edges[:, 0]] @ weights)
        nodes = nodes + jax.ops.segment_sum(sent, edges[:, 1], nodes.shape[0])
    return nodes


def _leapfrogs(x: jax.Array, y: jax.Array) -> Any:
    """A sampler as of Hamiltonian trajectories: loops in a loop in a scan, and conds in them."""

    def energy(w: jax.Array) -> jax.Array:
        return jnp.sum((x @ w - y) ** 2) + jnp.sum(w**2)

    def move(state: Any) -> Any:
        step, w, momentum, _ = state
        momentum = momentum - 0.01 * jax.grad(energy)(w)
        w = w + 0.01 * momentum
        return step + 1, w, momentum, energy(w)

    def double(state: Any) -> Any:
        depth, left, right, key = state
        key, side = jax.random.split(key)
        inner = (0, left, right, energy(left))
        _, w, momentum, _ = lax.while_loop(lambda s: (s[0] < 2**depth) & (s[3] < 1e6), move, inner)
        left, right = lax.cond(
            jax.random.bernoulli(side), lambda a, b: (a, b), lambda a, b: (-b, a), w, momentum
        )
        return depth + 1, left, right, key

    def draw(w: jax.Array, key: jax.Array) -> Any:
        start = (0, w, jax.random.normal(key, w.shape), key)
        w = lax.while_loop(lambda s: (s[0] < 3) & (energy(s[1]) < 1e6), double, start)[1]
        return w, w

    return lax.scan(draw, jnp.zeros(x.shape[1]), jax.random.split(jax.random.key(0), 4))[1]


def _levels(depth: int, x: jax.Array) -> jax.Array:
    """Scans in scans."""

    def body(carry: jax.Array, k: jax.Array) -> Any:
        for _ in range(4):
            carry = jnp.sin(carry) * 0.5 + jnp.cos(carry * k)
        return (carry if depth == 1 else _levels(depth - 1, carry)), carry.sum()

    carry, sums = lax.scan(body, x, jnp.arange(2.0))
    return carry + sums.sum()


def _search(x: jax.Array) -> jax.Array:
    """A loop over rows that chooses what to do with each."""

    def visit(i: Any, state: jax.Array) -> jax.Array:
        row = lax.switch(
            i % 3, [jnp.tanh, lambda r: r * 2, lambda r: jnp.sort(r)], state[i] + state.mean(0)
        )
        return state.at[i].set(row)

    return lax.fori_loop(0, x.shape[0], visit, x)


PROGRAMS: tuple[Program, ...] = (
    Program(
        "gradient of an MLP",
        _mlp,
        (None, "n, 8", "n"),
        lambda r, n: ([floats(r, 8, 8) for _ in range(4)], floats(r, n, 8), floats(r, n)),
    ),
    Program("encoder", builtin.encoder, (None, "2, n"), _ids),
    Program("gradient of an encoder", _encoder_loss, (None, "2, n"), _ids),
    Program(
        "gradient of an LSTM",
        _lstm_loss,
        (None, "n, 4"),
        lambda r, n: (floats(r, 20, 64), floats(r, n, 4)),
    ),
    Program(
        "convolutions",
        _convolutions,
        (None, "2, n, n, 3"),
        lambda r, n: (
            [floats(r, 3, 3, 3, 8), *(floats(r, 3, 3, 8, 8) for _ in range(3))],
            floats(r, 2, n, n, 3),
        ),
    ),
    Program(
        "messages on a graph",
        _messages,
        (None, "n, 8", "4*n, 2"),
        lambda r, n: (floats(r, 8, 8), floats(r, n, 8), r.integers(0, n, (4 * n, 2))),
    ),
    Program(
        "ranking", _ranking, ("n", "n"), lambda r, n: (floats(r, n), r.integers(0, 4, n, np.int32))
    ),
    Program("sampler", _leapfrogs, ("n, 4", "n"), lambda r, n: (floats(r, n, 4), floats(r, n))),
    Program(
        "gradient of scans in scans",
        jax.grad(lambda x: _levels(4, x).sum()),
        ("n",),
        lambda r, n: (floats(r, n),),
    ),
    Program("loop over rows", _search, ("n, 4",), lambda r, n: (floats(r, n, 4),)),
)
