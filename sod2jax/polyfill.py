"""Functions of JAX that want sizes as numbers, for symbolic ones.

Each gives what JAX's own gives at concrete sizes, in values, dtypes and weak types, and leaves to it
all calls without symbolic sizes. Where a size decides the course, it is compared: the guards split
the region there.
"""

from __future__ import annotations

import bisect
import functools
import inspect
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat, dims, hooks, region
from sod2jax.hooks import Hook

Original = Callable[..., Any]

# Where a size has no upper bound, a program serves sizes up to the first of these that holds it.
_CAPS = (1 << 12, 1 << 16)


def _most(dim: Any) -> int | None:
    """Upper bound of a size in the region of the trace."""
    area = hooks.area()
    assert area is not None
    return region.bounds(dims.from_jax(dim), area).high


def _capped(dim: Any) -> int | None:
    """An upper bound that the region has, or is given; None for huge sizes."""
    most = _most(dim)
    return most if most is not None else next((cap for cap in _CAPS if dim <= cap), None)


def _concrete_or_error(original: Original, force: Any, value: Any, context: str = "") -> Any:
    """Arguments that must be integers may be sizes."""
    if _compat.is_symbolic(value) and force in (int, operator.index):
        return value
    return original(force, value, context)


def _length(original: Original, array: Any) -> Any:
    """``len`` of an array, which Python demands to be an ``int``."""
    shape = getattr(array, "shape", ())
    return shape[0] if shape and _compat.is_symbolic(shape[0]) else original(array)


def _constant(original: Original, example: Any, value: Any) -> Any:
    """A size in the dtype of an array."""
    if not _compat.is_symbolic(value):
        return original(example, value)
    return lax.convert_element_type(jnp.asarray(value), original(example, 0).dtype)


def _index(original: Original, index: Any) -> tuple[Any, ...]:
    """The entries of an index; a size is a traced scalar, and so clamped as an integer is."""
    return tuple(jnp.asarray(i) if _compat.is_symbolic(i) else i for i in original(index))


def _scan_length(original: Original, xs: Sequence[Any], avals: Any, length: Any) -> Any:
    if not _compat.is_symbolic(length):
        return original(xs, avals, length)
    if xs and original(xs, avals, None) != length:
        raise ValueError(f"scan got the length {length} and axes of {[x.shape[0] for x in xs]}")
    return length


def _squeeze(original: Original, array: Any, axis: Any) -> Any:
    """With ``axis=None``, the axes whose sizes are known to be 1."""
    if axis is None:
        axis = tuple(k for k, size in enumerate(array.shape) if size == 1)
    return original(array, axis)


def _pad_wrap(original: Original, array: Any, widths: Any) -> Any:
    for axis, (before, after) in enumerate(widths):
        size = array.shape[axis]
        if not any(map(_compat.is_symbolic, (size, before, after))):
            widths_here = [(0, 0)] * array.ndim
            widths_here[axis] = (before, after)
            array = original(array, widths_here)
            continue
        index = lax.iota(np.int32, before + size + after) - before
        array = jnp.take(array, index, axis, mode="wrap")
    return array


@functools.cache
def _most_in_rounds(rounds: int) -> int:
    """How many elements are shuffled by so many sorts."""

    def needed(size: int) -> int:
        return math.ceil(3 * math.log(max(1, size)) / math.log(0xFFFFFFFF))

    return bisect.bisect_right(range(1 << 31), rounds, key=needed) - 1


def _shuffle(original: Original, key: Any, x: Any, axis: int) -> Any:
    if not _compat.is_symbolic(x.size):
        return original(key, x, axis)
    rounds = next(k for k in (1, 2, 3) if x.size <= _most_in_rounds(k))
    for _ in range(rounds):
        key, own = jax.random.split(key)
        _, x = lax.sort_key_val(jax.random.bits(own, x.shape, np.uint32), x, axis)
    return x


def _searchsorted(
    original: Original,
    table: Any,
    query: Any,
    /,
    *,
    side: str = "left",
    dimension: int = 0,
    batch_dims: int = 0,
    method: str = "scan",
    dtype: Any = "int32",
) -> Any:
    """Without the check that the size fits the dtype."""
    where = {"side": side, "dimension": dimension, "batch_dims": batch_dims, "dtype": np.dtype(dtype)}
    search = original
    if _compat.is_symbolic(table.shape[dimension]):
        search = _compat.searchsorted
    return search(table, query, method=method, **where)


def _bisect(
    original: Original, table: Any, query: Any, side: str, dtype: Any, unrolled: bool
) -> Any:
    """As many steps as the largest table needs; those too many change nothing."""
    (size,) = table.shape
    if not _compat.is_symbolic(size):
        return original(table, query, side=side, dtype=dtype, unrolled=unrolled)
    goes_left = _compat.sorts_before_or_equal if side == "left" else _compat.sorts_before

    def step(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        middle = low + (high - low) // 2
        left = goes_left(query, table[middle])
        return lax.select(left, low, middle), lax.select(left, middle, high)

    low = jnp.zeros(query.shape, np.uint32)
    high = jnp.broadcast_to(jnp.asarray(size).astype(np.uint32), query.shape)
    steps = (_most(size) or 0x7FFFFFFF).bit_length()
    return lax.fori_loop(0, steps, step, (low, high), unroll=unrolled or None)[1].astype(dtype)


def _convolve(original: Original, image: Any, kernel: Any, strides: Any, padding: Any, *args: Any, **kwargs: Any) -> Any:
    """Symbolic paddings, as those of gradients, are made around the image beforehand."""
    bound = inspect.signature(original).bind(image, kernel, strides, padding, *args, **kwargs)
    if isinstance(padding, str) or not any(map(_compat.is_symbolic, sum(map(tuple, padding), ()))):
        return original(*bound.args, **bound.kwargs)
    numbers = lax.conv_dimension_numbers(
        image.shape, kernel.shape, bound.arguments.get("dimension_numbers")
    )
    dilation = bound.arguments.get("lhs_dilation") or (1,) * len(padding)
    widths = [(0, 0, 0)] * image.ndim
    for axis, (low, high), step in zip(numbers.lhs_spec[2:], padding, dilation, strict=True):
        widths[axis] = (low, high, step - 1)
    bound.arguments |= {
        "lhs": lax.pad(image, jnp.zeros((), image.dtype), widths),
        "padding": [(0, 0)] * len(padding),
        "lhs_dilation": None,
    }
    return original(*bound.args, **bound.kwargs)


def _reduce_jvp(
    original: Original, reducer: Any, init: Any, primals: Any, tangents: Any, axes: Any
) -> Any:
    """Derivative of a product or of ``lax.reduce``: by halves, as JAX's own."""
    shape = primals[0].shape
    count, rest = math.prod(shape[k] for k in axes), [k for k in range(len(shape)) if k not in axes]
    most = _capped(count) if any(map(_compat.is_symbolic, shape)) else None
    if most is None:
        return original(reducer, init, primals, tangents, axes)
    new_shape = (count, *(shape[k] for k in rest))
    reducer = functools.reduce(lambda f, _: jax.vmap(f), new_shape, reducer)

    def pad_to(size: Any, x: Any, value: Any) -> Any:
        return lax.pad(x, value, [(0, size - x.shape[0], 0)] + [(0, 0, 0)] * len(rest))

    def reduce(*xs: Any) -> Any:
        size = count
        for k in range((most - 1).bit_length()):
            half = (count + (2 << k) - 1) // (2 << k)  # half of the last one, rounded up
            first = [lax.slice_in_dim(x, 0, half) for x in xs]
            second = [lax.slice_in_dim(x, half, size) for x in xs]
            xs = reducer(*first, *(pad_to(half, x, i) for x, i in zip(second, init, strict=True)))
            size = half
        return tuple(lax.index_in_dim(x, 0, keepdims=False) for x in xs)

    flat = [[lax.reshape(x, new_shape, (*axes, *rest)) for x in xs] for xs in (primals, tangents)]
    return jax.jvp(reduce, *flat)


def _associative_scan(
    original: Original, fn: Any, elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """The recursion over pairs that JAX does, to the depth that the largest size needs."""
    leaves, tree = jax.tree.flatten(elems)
    size = leaves[0].shape[axis]
    most = _capped(size) if _compat.is_symbolic(size) else None
    if most is None or any(x.shape[axis] != size for x in leaves):
        return original(fn, elems, reverse, axis)
    axis %= leaves[0].ndim

    def combine(a: Any, b: Any) -> list[Any]:
        return jax.tree.leaves(fn(jax.tree.unflatten(tree, a), jax.tree.unflatten(tree, b)))

    def part(xs: Any, low: Any, high: Any) -> list[Any]:
        return [lax.slice_in_dim(x, low, high, axis=axis) for x in xs]

    def scan(xs: list[Any], step: int) -> list[Any]:
        if most // step < 2:
            return xs
        # The sizes that this depth does not reach are 0 from here on.
        count, pairs = size // step, size // (2 * step)
        evens = count - pairs
        later = jax.core.max_dim(evens - 1, 0)
        even, odd = zip(*(_dealt(x, axis, evens) for x in xs), strict=True)
        odd = scan(combine(part(even, 0, pairs), part(odd, 0, pairs)), 2 * step)
        rest = combine(part(odd, 0, later), part(even, evens - later, evens))
        first = part(even, 0, evens - later)
        even = [lax.concatenate(xs, axis) for xs in zip(first, rest, strict=True)]
        return part(map(functools.partial(_interleaved, axis=axis), even, odd), 0, count)

    flipped = (lambda xs: [lax.rev(x, [axis]) for x in xs]) if reverse else list
    return jax.tree.unflatten(tree, flipped(scan(flipped(leaves), 1)))


def _grown(x: Any, axis: int, size: Any) -> Any:
    widths = [(0, size - x.shape[axis] if k == axis else 0, 0) for k in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), widths)


def _dealt(x: Any, axis: int, evens: Any) -> tuple[Any, Any]:
    """The elements at even and at odd places, with one too many of these for an odd size."""
    shape = (*x.shape[:axis], evens, 2, *x.shape[axis + 1 :])
    pairs = lax.reshape(_grown(x, axis, 2 * evens), shape)
    even, odd = (lax.index_in_dim(pairs, k, axis + 1, keepdims=False) for k in (0, 1))
    return even, odd


def _interleaved(even: Any, odd: Any, axis: int) -> Any:
    size = even.shape[axis]
    pairs = [lax.expand_dims(x, [axis + 1]) for x in (even, _grown(odd, axis, size))]
    shape = (*even.shape[:axis], 2 * size, *even.shape[axis + 1 :])
    return lax.reshape(lax.concatenate(pairs, axis + 1), shape)


_OURS = {
    "associative_scan": _associative_scan,
    "bisect": _bisect,
    "concrete_or_error": _concrete_or_error,
    "constant": _constant,
    "convolve": _convolve,
    "index": _index,
    "len": _length,
    "pad_wrap": _pad_wrap,
    "reduce_jvp": _reduce_jvp,
    "scan_length": _scan_length,
    "searchsorted": _searchsorted,
    "shuffle": _shuffle,
    "squeeze": _squeeze,
}
HOOKS = tuple(
    Hook(owner, name, call)
    for key, call in _OURS.items()
    for owner, name in _compat.WANT_NUMBERS[key]
)
