"""Operations on labelled arrays: every choice rests on labels and ranks, none on sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@dataclasses.dataclass(frozen=True)
class Value:
    """An intermediate array.

    Attributes:
      array: float32.
      labels: one per axis; axes with equal labels have equal sizes.
      exact: its elements are small integers, so that sums of them are exact in any order and
        comparisons may be made.
    """

    array: Any
    labels: tuple[str, ...]
    exact: bool


Operation = Callable[[Value, Value, int], Value | None]

OPERATIONS: dict[str, Operation] = {}


def _register(name: str) -> Callable[[Operation], Operation]:
    def add(operation: Operation) -> Operation:
        OPERATIONS[name] = operation
        return operation

    return add


def _elementwise(keeps_exact: bool, **functions: Callable[[Any], Any]) -> None:
    for name, function in functions.items():
        OPERATIONS[name] = lambda v, w, k, f=function: Value(
            f(v.array), v.labels, v.exact and keeps_exact
        )


def _along(keeps_exact: bool, **functions: Callable[[Any, int], Any]) -> None:
    """Functions of an array and an axis that leave the shape as it is."""
    for name, function in functions.items():
        OPERATIONS[name] = lambda v, w, k, f=function: (
            Value(f(v.array, k % v.array.ndim), v.labels, v.exact and keeps_exact)
            if v.array.ndim
            else None
        )


def _reduction(keeps_exact: bool, **functions: Callable[[Any, int], Any]) -> None:
    """Functions that drop an axis."""

    def reduce(v: Value, k: int, function: Callable[[Any, int], Any]) -> Value | None:
        if not v.array.ndim:
            return None
        axis = k % v.array.ndim
        labels = v.labels[:axis] + v.labels[axis + 1 :]
        return Value(function(v.array, axis), labels, v.exact and keeps_exact)

    for name, function in functions.items():
        OPERATIONS[name] = lambda v, w, k, f=function: reduce(v, k, f)


def _comparing(name: str, function: Callable[[Any, int], Any]) -> None:
    """Functions along an axis that rounding may change: for exact values only."""

    def apply(v: Value, w: Value, k: int) -> Value | None:
        if not (v.exact and v.array.ndim):
            return None
        return Value(function(v.array, k % v.array.ndim), v.labels, True)

    OPERATIONS[name] = apply


def _small(x: Any) -> Any:
    """Keeps the integers of exact values small."""
    return jnp.clip(x, -40.0, 40.0)


_elementwise(
    True,
    negative=jnp.negative,
    absolute=jnp.abs,
    relu=jax.nn.relu,
    double=lambda x: _small(x * 2),
    square=lambda x: _small(x * x),
    integer=lambda x: jnp.floor(x),
)
_elementwise(
    False,
    tanh=jnp.tanh,
    decay=lambda x: jnp.exp(-jnp.abs(x)),
    logarithm=lambda x: jnp.log1p(jnp.abs(x)),
    reciprocal=lambda x: 1 / (1 + x * x),
)
_along(
    True,
    flip=lambda x, axis: jnp.flip(x, axis),
    roll=lambda x, axis: jnp.roll(x, 1, axis),
    cummax=lambda x, axis: lax.cummax(x, axis),
    cumsum=lambda x, axis: _small(lax.cumsum(x, axis)),
    cumsum_reverse=lambda x, axis: _small(lax.cumsum(x, axis, reverse=True)),
    sort=lambda x, axis: lax.sort(x, axis),
    windows=lambda x, axis: _window(x, axis, -jnp.inf, lax.max),
    window_sum=lambda x, axis: _small(_window(x, axis, 0.0, lax.add)),
    running=lambda x, axis: _running(x, axis),
)
_along(
    False,
    softmax=lambda x, axis: jax.nn.softmax(x, axis),
    log_softmax=lambda x, axis: jax.nn.log_softmax(x, axis),
    centre=lambda x, axis: x - x.mean(axis, keepdims=True),
    normalise=lambda x, axis: x / jnp.sqrt(1 + (x * x).mean(axis, keepdims=True)),
    cumprod=lambda x, axis: lax.cumprod(jnp.tanh(x), axis),
    cumlogsumexp=lambda x, axis: lax.cumlogsumexp(jnp.tanh(x), axis),
    by_size=lambda x, axis: x / x.shape[axis],
    position=lambda x, axis: (
        jnp.tanh(x)
        * jnp.arange(x.shape[axis]).reshape([-1 if k == axis else 1 for k in range(x.ndim)])
        / x.shape[axis]
    ),
    noise=lambda x, axis: x * jax.random.uniform(jax.random.key(axis), x.shape),
    dropout=lambda x, axis: jnp.where(jax.random.bernoulli(jax.random.key(7), 0.5, x.shape), x, 0),
    convolve=lambda x, axis: _convolve(jnp.tanh(x), axis),
)
_reduction(
    True,
    total=lambda x, axis: _small(x.sum(axis)),
    largest=lambda x, axis: x.max(axis),
    smallest=lambda x, axis: x.min(axis),
    first=lambda x, axis: lax.index_in_dim(x, 0, axis, keepdims=False),
    last=lambda x, axis: lax.index_in_dim(x, -1, axis, keepdims=False),
    middle=lambda x, axis: jnp.take(x, x.shape[axis] // 2, axis=axis),
)
_reduction(
    False,
    mean=lambda x, axis: x.mean(axis),
    variance=lambda x, axis: x.var(axis),
    logsumexp=lambda x, axis: jax.nn.logsumexp(x, axis),
    product=lambda x, axis: jnp.tanh(x).prod(axis),
)
_comparing("positive", lambda x, axis: jnp.where(x > 0, x, -1.0))
_comparing("argsort", lambda x, axis: jnp.argsort(x, axis).astype(np.float32))
_comparing("rank_of_largest", lambda x, axis: x * 0 + jnp.argmax(x, axis, keepdims=True))
_comparing("any_negative", lambda x, axis: x + jnp.any(x < 0, axis, keepdims=True))
_comparing("gather_by_value", lambda x, axis: _gather(x, axis))
_comparing("scatter_by_value", lambda x, axis: _scatter(x, axis))
_comparing("branch", lambda x, axis: lax.cond(x.sum() > 0, lambda y: y + 1, lambda y: -y, x))
_comparing("halve_until_small", lambda x, axis: _halve(x))
_comparing("median_below", lambda x, axis: x + (jnp.median(x, axis, keepdims=True) > 0))


def _window(x: Any, axis: int, start: float, reducer: Any) -> Any:
    window = [3 if k == axis else 1 for k in range(x.ndim)]
    return lax.reduce_window(x, start, reducer, window, [1] * x.ndim, "SAME")


def _running(x: Any, axis: int) -> Any:
    rows = jnp.moveaxis(x, axis, 0)
    _, out = lax.scan(lambda c, row: (jnp.maximum(row - c, c), row + c), rows[0] * 0, rows)
    return _small(jnp.moveaxis(out, 0, axis))


def _convolve(x: Any, axis: int) -> Any:
    moved = jnp.moveaxis(x, axis, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    kernel = jnp.asarray([[[0.5, -1.0, 0.25]]], np.float32)
    out = lax.conv_general_dilated(flat, kernel, (1,), "SAME")
    return jnp.moveaxis(out.reshape(moved.shape), -1, axis)


def _gather(x: Any, axis: int) -> Any:
    index = jnp.abs(x).astype(np.int32) % x.shape[axis]
    return jnp.take_along_axis(x, index, axis)


def _scatter(x: Any, axis: int) -> Any:
    rows = jnp.moveaxis(x, axis, 0)
    index = jnp.abs(rows.reshape(rows.shape[0], -1)[:, 0]).astype(np.int32)
    return _small(jnp.moveaxis(rows.at[index].add(rows, mode="drop"), 0, axis))


def _halve(x: Any) -> Any:
    return lax.while_loop(lambda y: jnp.abs(y).max() > 8, lambda y: jnp.floor(jnp.abs(y) / 2), x)


@_register("transpose")
def _transpose(v: Value, w: Value, k: int) -> Value:
    return Value(v.array.T, v.labels[::-1], v.exact)


@_register("merge")
def _merge(v: Value, w: Value, k: int) -> Value | None:
    if v.array.ndim < 2:
        return None
    axis = k % (v.array.ndim - 1)
    shape, labels = v.array.shape, v.labels
    shape = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
    label = f"({labels[axis]}*{labels[axis + 1]})"
    return Value(v.array.reshape(shape), (*labels[:axis], label, *labels[axis + 2 :]), v.exact)


@_register("repeat")
def _repeat(v: Value, w: Value, k: int) -> Value | None:
    return _stretched(v, k, "2x", lambda x, axis: jnp.repeat(x, 2, axis))


@_register("pad")
def _pad(v: Value, w: Value, k: int) -> Value | None:
    def apply(x: Any, axis: int) -> Any:
        return lax.pad(x, 1.0, [(1, 2, k % 2) if a == axis else (0, 0, 0) for a in range(x.ndim)])

    return _stretched(v, k, f"pad{k % 2}", apply)


@_register("every_other")
def _every_other(v: Value, w: Value, k: int) -> Value | None:
    return _stretched(v, k, "half", lambda x, axis: lax.slice_in_dim(x, 0, x.shape[axis], 2, axis))


@_register("front_half")
def _front_half(v: Value, w: Value, k: int) -> Value | None:
    return _stretched(
        v, k, "front", lambda x, axis: lax.slice_in_dim(x, 0, x.shape[axis] // 2 + 1, 1, axis)
    )


def _stretched(v: Value, k: int, mark: str, apply: Callable[[Any, int], Any]) -> Value | None:
    if not v.array.ndim:
        return None
    axis = k % v.array.ndim
    labels = (*v.labels[:axis], f"{mark}[{v.labels[axis]}]", *v.labels[axis + 1 :])
    return Value(apply(v.array, axis), labels, v.exact)


@_register("join")
def _join(v: Value, w: Value, k: int) -> Value | None:
    if not v.array.ndim or len(v.labels) != len(w.labels):
        return None
    axis = k % v.array.ndim
    others = [(a, b) for n, (a, b) in enumerate(zip(v.labels, w.labels, strict=True)) if n != axis]
    if any(a != b for a, b in others):
        return None
    label = f"({v.labels[axis]}+{w.labels[axis]})"
    array = jnp.concatenate([v.array, w.array], axis)
    labels = (*v.labels[:axis], label, *v.labels[axis + 1 :])
    return Value(array, labels, v.exact and w.exact)


@_register("combine")
def _combine(v: Value, w: Value, k: int) -> Value | None:
    if v.labels != w.labels:
        return None
    function = (jnp.add, jnp.subtract, jnp.maximum, jnp.multiply)[k % 4]
    return Value(_small(function(v.array, w.array)), v.labels, v.exact and w.exact)


@_register("choose")
def _choose(v: Value, w: Value, k: int) -> Value | None:
    if v.labels != w.labels or not v.exact:
        return None
    return Value(jnp.where(v.array > 0, w.array, v.array), v.labels, w.exact)


@_register("contract")
def _contract(v: Value, w: Value, k: int) -> Value | None:
    shared = [label for label in v.labels if label in w.labels]
    if not shared or len(v.labels) + len(w.labels) - 2 > 3:
        return None
    label = shared[k % len(shared)]
    a, b = v.labels.index(label), w.labels.index(label)
    array = lax.dot_general(v.array, w.array, (((a,), (b,)), ((), ())))
    rest = (*v.labels[:a], *v.labels[a + 1 :], *w.labels[:b], *w.labels[b + 1 :])
    return Value(_small(array), rest, v.exact and w.exact)


@_register("outer")
def _outer(v: Value, w: Value, k: int) -> Value | None:
    if len(v.labels) + len(w.labels) > 3:
        return None
    array = jnp.tensordot(v.array, w.array, 0)
    return Value(_small(array), v.labels + w.labels, v.exact and w.exact)
