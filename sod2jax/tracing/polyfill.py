"""Functions of JAX that want sizes as numbers, for symbolic ones.

Each gives what JAX's own gives at concrete sizes, in values, dtypes and weak types, and leaves all
calls without symbolic sizes to it. Where a size decides the course, it is compared: the guards
split the region there.
"""

from __future__ import annotations

import bisect
import builtins
import functools
import math
import operator
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import max_dim

from sod2jax import _compat
from sod2jax.tracing import caps, frames, numeric
from sod2jax.tracing.hooks import Patch, while_tracing
from sod2jax.tracing.recorder import attentive

Original = Callable[..., Any]


def _integer(original: Original, value: Any) -> Any:
    """Arguments that must be integers may be sizes, but for where JAX tells the two apart."""
    try:
        return original(value)
    except TypeError:
        frame = sys._getframe(2)
        if _compat.is_symbolic(value) and _tells_apart(frame):
            _doubt_its_answer(frame)
        elif _compat.is_symbolic(value):
            return value
        raise


def _tells_apart(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in _compat.TELL_SIZES_APART


def _doubt_its_answer(frame: FrameType) -> None:
    """Others than JAX are told that a size is no number."""
    recorder, asking = attentive(), frame.f_back
    if recorder is None or asking is None or frames.is_jax(asking) or frames.is_own(asking):
        return
    if not frames.is_passed(asking.f_code):
        recorder.doubt(f"whether a size is a number at {frames.line(asking)}")


def _of_a_shape(original: Original, dim: Any) -> Any:
    """What NumPy computed is a plain size where it is part of a shape."""
    return _compat.as_python(original(dim))


def _concrete_or_error(original: Original, force: Any, value: Any, context: str = "") -> Any:
    if _compat.is_symbolic(value) and force in (int, operator.index):
        return value
    return original(force, value, context)


def _length(original: Original, array: Any) -> Any:
    """``len`` of an array; Python itself demands an ``int``."""
    try:
        return original(array)
    except (TypeError, _compat.InconclusiveDimensionOperation):
        size = next(iter(getattr(array, "shape", ())), None)
        if _compat.is_symbolic(size):
            return size
        raise


def _constant(original: Original, example: Any, value: Any) -> Any:
    """A size in the dtype of an array, or as a Python number of that kind."""
    if not _compat.is_symbolic(value):
        return original(example, value)
    like = original(example, 0)
    weak = not hasattr(like, "dtype")
    return _compat.converted(jnp.asarray(value), jnp.result_type(like), weak_type=weak)


def _index_dtype(original: Original, sizes: Any, *, signed: bool) -> Any:
    """That for sizes below 2**31, as all of ours are, also with 64 bits."""
    known = jax.tree.map(lambda size: 0 if _compat.is_symbolic(size) else size, sizes)
    return original(known, signed=signed)


def _index(original: Original, index: Any) -> tuple[Any, ...]:
    """The entries of an index; a size is a traced scalar, and so clamped as an integer is."""
    return tuple(jnp.asarray(i) if _compat.is_symbolic(i) else i for i in original(index))


def _scan_length(original: Original, xs: Sequence[Any], avals: Any, length: Any) -> Any:
    if not _compat.is_symbolic(length):
        return original(xs, avals, length)
    if xs and original(xs, avals, None) != length:
        raise ValueError(f"scan got the length {length} and axes of {[x.shape[0] for x in xs]}")
    return length


def _arange(
    original: Original,
    start: Any,
    stop: Any = None,
    step: Any = None,
    dtype: Any = None,
    **options: Any,
) -> Any:
    """Between numbers made of sizes; JAX's own knows those that are whole."""
    given = [x for x in (start, stop, step) if x is not None]
    whole = all(_compat.is_symbolic(x) or isinstance(x, int | np.integer) for x in given)
    if whole or not any(map(numeric.is_numeric, given)) or any(map(np.ndim, given)):
        return original(start, stop=stop, step=step, dtype=dtype, **options)
    start, stop = (0, start) if stop is None else (start, stop)
    dtype = np.dtype(dtype or jnp.result_type(*map(numeric.kind, given)))
    is_short = step is not None and jnp.issubdtype(dtype, np.floating) and dtype.itemsize < 4
    work = np.dtype(np.float32) if is_short else dtype
    count = stop - start if numeric.is_numeric(start) or start != 0 else stop
    count = count if step is None else (stop - start) / step
    size = count if _compat.is_symbolic(count) else numeric.whole(math.ceil, count)
    values = lax.iota(work, max_dim(size, 0))
    if step is not None:
        values = values * numeric.in_dtype(step, work)
    return lax.convert_element_type(values + numeric.in_dtype(start, work), dtype)


def _squeeze(original: Original, array: Any, axis: Any) -> Any:
    """With ``axis=None``, the axes whose sizes are known to be 1."""
    if axis is None and any(map(_compat.is_symbolic, array.shape)):
        axis = tuple(k for k, size in enumerate(array.shape) if size == 1)
    return original(array, axis)


def _alone(array: Any, axis: int, widths: Any) -> list[Any]:
    """Widths of a padding of one axis."""
    return [widths if k == axis else (0, 0) for k in range(array.ndim)]


def _pad_wrap(original: Original, array: Any, widths: Any) -> Any:
    """By slices where these are parts of the axis, else by a gather."""
    for axis, (before, after) in enumerate(widths):
        size = array.shape[axis]
        if not any(map(_compat.is_symbolic, (before, size, after))):
            array = original(array, _alone(array, axis, (before, after)))
        elif before <= size and after <= size:
            part = functools.partial(lax.slice_in_dim, array, axis=axis)
            array = lax.concatenate([part(size - before, size), array, part(0, after)], axis)
        else:
            place = lax.iota(np.int32, before + size + after) - before
            array = jnp.take(array, place, axis, mode="wrap")
    return array


def _pad_mirrored(original: Original, array: Any, widths: Any, mode: str, kind: str) -> Any:
    """JAX's own where the padding is smaller than the axis, else by a gather."""
    for axis, (before, after) in enumerate(widths):
        size = array.shape[axis]
        known = kind == "odd" or not any(map(_compat.is_symbolic, (before, size, after)))
        if known or (size > before and size > after):
            array = original(array, _alone(array, axis, (before, after)), mode, kind)
            continue
        last = 2 * size - (1 if mode == "symmetric" else 2)
        period = 2 * size if mode == "symmetric" else max_dim(last, 1)
        place = (lax.iota(np.int32, before + size + after) - before) % period
        array = jnp.take(array, jnp.minimum(place, last - place), axis, mode="clip")
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
    original: Original, table: Any, query: Any, /, *, dimension: int = 0, dtype: Any, **kwargs: Any
) -> Any:
    """Without the check that the size fits the dtype."""
    kwargs = {"batch_dims": 0, **kwargs, "dimension": dimension, "dtype": np.dtype(dtype)}
    known = not _compat.is_symbolic(table.shape[dimension])
    return (original if known else _compat.searchsorted)(table, query, **kwargs)


def _bisect(
    original: Original, table: Any, query: Any, side: str, dtype: Any, unrolled: bool
) -> Any:
    """As many steps as the largest table needs: more than are needed change nothing."""
    (size,) = table.shape
    if not _compat.is_symbolic(size):
        return original(table, query, side=side, dtype=dtype, unrolled=unrolled)
    if query.ndim:
        inner = functools.partial(_bisect, original, side=side, dtype=dtype, unrolled=unrolled)
        return jax.vmap(inner, (None, 0))(table, query)
    goes_left: Any = _compat.sorts_before_or_equal if side == "left" else _compat.sorts_before

    def step(ends: tuple[Any, Any], _: Any) -> tuple[tuple[Any, Any], tuple[()]]:
        low, high = ends
        middle = low + (high - low) // 2
        left = goes_left(query, table[middle])
        return (lax.select(left, low, middle), lax.select(left, middle, high)), ()

    ends = jnp.zeros((), np.uint32), jnp.asarray(size).astype(np.uint32)
    steps = (caps.most(size) or 0x7FFFFFFF).bit_length()
    return lax.scan(step, ends, (), steps, unroll=steps if unrolled else 1)[0][1].astype(dtype)


def _reduce_jvp(
    original: Original, reducer: Any, init: Any, primals: Any, tangents: Any, axes: Any
) -> Any:
    """Derivative of a product or of ``lax.reduce``: by halves, as JAX's own."""
    shape = primals[0].shape
    count, rest = math.prod(shape[k] for k in axes), [k for k in range(len(shape)) if k not in axes]
    most = caps.capped(count) if any(map(_compat.is_symbolic, shape)) else None
    if most is None:
        return original(reducer, init, primals, tangents, axes)
    new_shape = (count, *(shape[k] for k in rest))
    reducer = functools.reduce(lambda f, _: jax.vmap(f), new_shape, reducer)

    def reduce(*xs: Any) -> Any:
        size = count
        for k in range((most - 1).bit_length()):
            half = (count + (2 << k) - 1) // (2 << k)  # half of the last one, rounded up
            first = [lax.slice_in_dim(x, 0, half) for x in xs]
            second = [lax.slice_in_dim(x, half, size) for x in xs]
            xs = reducer(
                *first, *(_grown(x, 0, half, i) for x, i in zip(second, init, strict=True))
            )
            size = half
        return tuple(lax.index_in_dim(x, 0, keepdims=False) for x in xs)

    def flat(xs: Any) -> list[Any]:
        return [lax.reshape(x, new_shape, (*axes, *rest)) for x in xs]

    return jax.jvp(reduce, flat(primals), flat(tangents))


def _associative_scan(
    original: Original, fn: Any, elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """The recursion over pairs that JAX does, to the depth that the largest size needs."""
    leaves, tree = jax.tree.flatten(elems)
    size = leaves[0].shape[axis]
    most = caps.capped(size) if _compat.is_symbolic(size) else None
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
        later = max_dim(evens - 1, 0)
        even, odd = zip(*(_dealt(x, axis, evens) for x in xs), strict=True)
        odd = scan(combine(part(even, 0, pairs), part(odd, 0, pairs)), 2 * step)
        rest = combine(part(odd, 0, later), part(even, evens - later, evens))
        first = part(even, 0, evens - later)
        even = [lax.concatenate(xs, axis) for xs in zip(first, rest, strict=True)]
        return part(map(functools.partial(_interleaved, axis=axis), even, odd), 0, count)

    flipped = (lambda xs: [lax.rev(x, [axis]) for x in xs]) if reverse else list
    return jax.tree.unflatten(tree, flipped(scan(flipped(leaves), 1)))


def _grown(x: Any, axis: int, size: Any, value: Any = 0) -> Any:
    widths = [(0, size - x.shape[axis] if k == axis else 0, 0) for k in range(x.ndim)]
    return lax.pad(x, jnp.asarray(value, x.dtype), widths)


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
    "arange": _arange,
    "associative_scan": _associative_scan,
    "bisect": _bisect,
    "concrete_or_error": _concrete_or_error,
    "constant": _constant,
    "dtype_for_dim": _index_dtype,
    "dtype_for_shape": _index_dtype,
    "index": _index,
    "pad_mirrored": _pad_mirrored,
    "pad_wrap": _pad_wrap,
    "reduce_jvp": _reduce_jvp,
    "scan_length": _scan_length,
    "searchsorted": _searchsorted,
    "shuffle": _shuffle,
    "squeeze": _squeeze,
}
PATCHES = (
    Patch(builtins, "len", while_tracing(_length)),
    Patch(operator, "index", while_tracing(_integer)),
    Patch(*_compat.OF_A_SHAPE, while_tracing(_of_a_shape)),
    *(Patch(*_compat.WANT_NUMBERS[key], while_tracing(call)) for key, call in _OURS.items()),
)
