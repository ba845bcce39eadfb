"""Jaxprs of fixed shapes, run by NumPy: no compiling, so that thousands of programs are cheap.

What is in no table here is bound on JAX arrays, one equation at a time, which is slow and right.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sod2jax import _compat

BOUND: collections.Counter[str] = collections.Counter()
"""How often each primitive was left to JAX."""


class InterpreterError(BaseException):
    """A fault in here."""


class Weak(np.ndarray):
    """A result of weak type."""

    weak_type = True


def run(closed: Any, args: Sequence[Any]) -> list[Any]:
    """The results of a closed jaxpr; those of weak type are ``Weak``."""
    with np.errstate(all="ignore"):
        results = _run(closed, _compat.constants(closed), args)
    typed = []
    for result, atom in zip(results, closed.outvars, strict=True):
        result = np.asarray(result, atom.aval.dtype)
        typed.append(result.view(Weak) if getattr(atom.aval, "weak_type", False) else result)
    return typed


def _run(jaxpr: Any, constants: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, map(np.asarray, constants), strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return _compat.literal_array(atom) if _compat.is_literal(atom) else env[atom]

    for eqn in jaxpr.eqns:
        operands = list(map(read, eqn.invars))
        for var, value in zip(eqn.outvars, _apply(eqn, operands), strict=True):
            env[var] = np.asarray(value, var.aval.dtype)
            if env[var].shape != var.aval.shape:
                raise InterpreterError(f"{eqn.primitive} gave {env[var].shape} for {var.aval}")
    return list(map(read, jaxpr.outvars))


def _apply(eqn: Any, operands: list[Any]) -> Sequence[Any]:
    name = eqn.primitive.name
    if name in _ELEMENTWISE:
        return [_ELEMENTWISE[name](*operands)]
    if name in _RULES:
        return _RULES[name](eqn, *operands)
    bodies = [body for _, body in _compat.sub_jaxprs(eqn)]
    if name in _CALLS and len(bodies) == 1:
        return _run(bodies[0], _compat.constants(bodies[0]), operands)
    BOUND[name] += 1
    return [np.asarray(y) for y in _compat.bind(eqn, *map(jax.numpy.asarray, operands))]


_CALLS = frozenset("jit pjit closed_call core_call custom_jvp_call custom_vjp_call remat2".split())


def _divide(a: Any, b: Any) -> Any:
    if a.dtype.kind not in "iu":
        return a / b
    quotient = np.abs(a.astype(np.int64)) // np.maximum(np.abs(b.astype(np.int64)), 1)
    return np.where(b == 0, -1, quotient * np.sign(a) * np.sign(b)).astype(a.dtype)


def _remainder(a: Any, b: Any) -> Any:
    if a.dtype.kind not in "iu":
        return np.fmod(a, b)
    return np.where(b == 0, a, np.fmod(a, np.where(b == 0, 1, b)))


def _select(which: Any, *cases: Any) -> Any:
    return np.choose(np.broadcast_to(which.astype(np.int32), cases[0].shape), cases)


def _logistic(x: Any) -> Any:
    return (1 / (1 + np.exp(-x))).astype(x.dtype)


def _ordered(x: Any) -> Any:
    """Integers in the total order of floats: a negative NaN is the smallest."""
    if x.dtype != np.float32:
        return x.astype(np.int64)
    bits = x.view(np.int32)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)


def _power(a: Any, b: Any) -> Any:
    return np.power(a, b.astype(a.dtype) if a.dtype.kind == "f" else b)


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "and": np.bitwise_and,
    "atan2": np.arctan2,
    "ceil": np.ceil,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "complex": lambda a, b: (a + 1j * b).astype(np.complex64),
    "conj": np.conj,
    "copy": lambda x: x,
    "copy_p": lambda x: x,
    "cos": np.cos,
    "div": _divide,
    "eq": np.equal,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "floor": np.floor,
    "ge": np.greater_equal,
    "gt": np.greater,
    "imag": np.imag,
    "is_finite": np.isfinite,
    "le": np.less_equal,
    "log": np.log,
    "log1p": np.log1p,
    "logistic": _logistic,
    "le_to": lambda a, b: _ordered(a) <= _ordered(b),
    "lt": np.less,
    "lt_to": lambda a, b: _ordered(a) < _ordered(b),
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.invert,
    "optimization_barrier": lambda x: x,
    "or": np.bitwise_or,
    "pow": _power,
    "real": np.real,
    "rem": _remainder,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "select_n": _select,
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "square": np.square,
    "stop_gradient": lambda x: x,
    "sub": np.subtract,
    "tan": np.tan,
    "tanh": np.tanh,
    "xor": np.bitwise_xor,
}

_RULES: dict[str, Callable[..., Sequence[Any]]] = {}


def _rule(*names: str) -> Callable[[Any], Any]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            _RULES[name] = function
        return function

    return add


def _one(*names: str) -> Callable[[Any], Any]:
    """A rule of one result, which takes the equation's parameters."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            _RULES[name] = lambda eqn, *xs: [function(eqn.params, *xs)]
        return function

    return add


@_one("convert_element_type")
def _convert(params: Any, x: Any) -> Any:
    new = np.dtype(params["new_dtype"])
    if x.dtype.kind == "f" and new.kind in "iu":
        limits = np.iinfo(new)
        inside = np.clip(np.nan_to_num(x.astype(np.float64)), limits.min, limits.max)
        return inside.astype(new)
    return (x.real if x.dtype.kind == "c" and new.kind != "c" else x).astype(new)


@_one("integer_pow")
def _integer_pow(params: Any, x: Any) -> Any:
    y = params["y"]
    return np.power(x, y) if y >= 0 else 1 / np.power(x, -y)


@_one("round")
def _round(params: Any, x: Any) -> Any:
    to_even = int(params["rounding_method"]) == 1
    return np.round(x) if to_even else np.trunc(x + np.copysign(0.5, x))


@_one("broadcast_in_dim")
def _broadcast(params: Any, x: Any) -> Any:
    shape = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape(shape), params["shape"])


@_one("reshape")
def _reshape(params: Any, x: Any) -> Any:
    return x.reshape(params["new_sizes"])


@_one("squeeze")
def _squeeze(params: Any, x: Any) -> Any:
    return np.squeeze(x, tuple(params["dimensions"]))


@_one("transpose")
def _transpose(params: Any, x: Any) -> Any:
    return np.transpose(x, params["permutation"])


@_one("rev")
def _reverse(params: Any, x: Any) -> Any:
    return np.flip(x, params["dimensions"])


@_one("iota")
def _iota(params: Any) -> Any:
    shape, axis = params["shape"], params["dimension"]
    column = np.arange(shape[axis], dtype=params["dtype"])
    return np.broadcast_to(
        column.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape
    )


@_one("concatenate")
def _concatenate(params: Any, *xs: Any) -> Any:
    return np.concatenate(xs, params["dimension"])


@_one("stack")
def _stack(params: Any, *xs: Any) -> Any:
    return np.stack(xs, params["axis"])


@_one("pad")
def _pad(params: Any, x: Any, value: Any) -> Any:
    for axis, (low, high, inner) in enumerate(params["padding_config"]):
        size = x.shape[axis]
        wide = list(x.shape)
        wide[axis] = size + max(size - 1, 0) * inner + max(low, 0) + max(high, 0)
        out = np.full(wide, value, x.dtype)
        place = [slice(None)] * x.ndim
        start = max(low, 0)
        place[axis] = slice(start, start + size + max(size - 1, 0) * inner, inner + 1)
        out[tuple(place)] = x
        place[axis] = slice(max(-low, 0), wide[axis] - max(-high, 0))
        x = out[tuple(place)]
    return x


@_one("slice")
def _slice(params: Any, x: Any) -> Any:
    strides = params["strides"] or [1] * x.ndim
    cuts = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return x[tuple(slice(*cut) for cut in cuts)]


@_rule("split")
def _split(eqn: Any, x: Any) -> Any:
    return np.split(x, np.cumsum(eqn.params["sizes"])[:-1], eqn.params["axis"])


def _clamped(starts: Sequence[Any], window: Sequence[int], shape: Sequence[int]) -> list[int]:
    return [min(max(int(s), 0), size - w) for s, w, size in zip(starts, window, shape, strict=True)]


@_one("dynamic_slice")
def _dynamic_slice(params: Any, x: Any, *starts: Any) -> Any:
    window = params["slice_sizes"]
    at = _clamped(starts, window, x.shape)
    return x[tuple(slice(s, s + w) for s, w in zip(at, window, strict=True))]


@_one("dynamic_update_slice")
def _dynamic_update_slice(params: Any, x: Any, y: Any, *starts: Any) -> Any:
    del params
    at = _clamped(starts, y.shape, x.shape)
    out = x.copy()
    out[tuple(slice(s, s + w) for s, w in zip(at, y.shape, strict=True))] = y
    return out


def _windows(
    shape: Sequence[int],
    indices: Any,
    window: Sequence[int],
    mode: Any,
    along: tuple[Sequence[int], Sequence[int], Sequence[int]],
    offsets: Sequence[int],
    hidden: Sequence[int],
) -> tuple[tuple[Any, ...], Any]:
    """Where each element of the windows lies in an array, and whether its window is inside.

    Args:
      shape: of the array.
      indices: starts of the windows, in the last axis.
      window: size of a window along each axis of the array.
      mode: what becomes of windows that reach outside.
      along: axes of the array that the starts are along; batch axes of the array, of the indices.
      offsets: axes of the result that are axes of a window.
      hidden: axes of a window that are not.
    """
    starts, own_batch, index_batch = along
    batch = indices.shape[:-1]
    rank = len(batch) + len(offsets)
    outer = [axis for axis in range(rank) if axis not in offsets]

    def placed(values: Any, axes: Sequence[int]) -> Any:
        view = [1] * rank
        for axis, size in zip(axes, values.shape, strict=True):
            view[axis] = size
        return values.reshape(view)

    places = [np.zeros([1] * rank, np.int64) for _ in shape]
    inside = np.ones([1] * rank, bool)
    for k, axis in enumerate(starts):
        start = placed(indices[..., k].astype(np.int64), outer)
        most = shape[axis] - window[axis]
        inside = inside & (start >= 0) & (start <= most)
        clips = "FILL" not in str(mode)
        places[axis] = places[axis] + (np.clip(start, 0, most) if clips else start)
        inside = np.ones_like(inside) if clips else inside
    for own, other in zip(own_batch, index_batch, strict=True):
        places[own] = places[own] + placed(np.arange(batch[other]), [outer[other]])
    shown = [axis for axis in range(len(shape)) if axis not in hidden]
    for axis, offset in zip(shown, offsets, strict=True):
        places[axis] = places[axis] + placed(np.arange(window[axis]), [offset])
    places = np.broadcast_arrays(*places, inside)
    return tuple(np.where(places[-1], p, 0) for p in places[:-1]), places[-1]


@_one("gather")
def _gather(params: Any, x: Any, indices: Any) -> Any:
    d = params["dimension_numbers"]
    along = d.start_index_map, d.operand_batching_dims, d.start_indices_batching_dims
    hidden = (*d.collapsed_slice_dims, *d.operand_batching_dims)
    places, inside = _windows(
        x.shape, indices, params["slice_sizes"], params["mode"], along, d.offset_dims, hidden
    )
    fill = params.get("fill_value")
    if fill is None:
        fill = np.nan if x.dtype.kind in "fc" else _least(x.dtype) if x.dtype.kind == "i" else True
    return (
        np.where(inside, x[places], np.asarray(fill).astype(x.dtype))
        if x.size
        else np.full(inside.shape, fill)
    )


_SCATTERS = {
    "scatter": None,
    "scatter-add": np.add,
    "scatter-mul": np.multiply,
    "scatter-min": np.minimum,
    "scatter-max": np.maximum,
    "scatter-sub": np.subtract,
}


@_rule(*_SCATTERS)
def _scatter(eqn: Any, x: Any, indices: Any, updates: Any) -> Any:
    d = eqn.params["dimension_numbers"]
    along = d.scatter_dims_to_operand_dims, d.operand_batching_dims, d.scatter_indices_batching_dims
    hidden = (*d.inserted_window_dims, *d.operand_batching_dims)
    window = [1] * x.ndim
    shown = [axis for axis in range(x.ndim) if axis not in hidden]
    for axis, update in zip(shown, d.update_window_dims, strict=True):
        window[axis] = updates.shape[update]
    places, inside = _windows(
        x.shape, indices, window, eqn.params["mode"], along, d.update_window_dims, hidden
    )
    chosen = tuple(np.broadcast_to(p, updates.shape)[inside] for p in places)
    out, function = x.copy(), _SCATTERS[eqn.primitive.name]
    if function is None:
        out[chosen] = updates[inside]
    else:
        function.at(out, chosen, updates[inside])
    return [out]


@_rule("top_k")
def _top_k(eqn: Any, x: Any) -> Any:
    if eqn.params.get("axis", x.ndim - 1) % x.ndim != x.ndim - 1:
        return [np.asarray(y) for y in _compat.bind(eqn, jax.numpy.asarray(x))]
    order = np.argsort(-_ordered(x), -1, kind="stable")[..., : eqn.params["k"]].astype(np.int32)
    return [np.take_along_axis(x, order, -1), order]


@_one("tile")
def _tile(params: Any, x: Any) -> Any:
    return np.tile(x, params["reps"])


def _axes(params: Any) -> tuple[int, ...]:
    return tuple(params["axes"])


def _least(dtype: np.dtype) -> Any:
    return False if dtype.kind == "b" else -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _most(dtype: np.dtype) -> Any:
    return True if dtype.kind == "b" else np.inf if dtype.kind == "f" else np.iinfo(dtype).max


_one("reduce_sum")(lambda params, x: x.sum(_axes(params), dtype=x.dtype))
_one("reduce_prod")(lambda params, x: x.prod(_axes(params), dtype=x.dtype))
_one("reduce_max")(lambda params, x: x.max(_axes(params), initial=_least(x.dtype)))
_one("reduce_min")(lambda params, x: x.min(_axes(params), initial=_most(x.dtype)))
_one("reduce_and")(lambda params, x: np.bitwise_and.reduce(x, _axes(params)))
_one("reduce_or")(lambda params, x: np.bitwise_or.reduce(x, _axes(params)))
_one("argmax")(lambda params, x: x.argmax(params["axes"][0]))
_one("argmin")(lambda params, x: x.argmin(params["axes"][0]))


def _cumulative(function: Any) -> Callable[..., Any]:
    def apply(params: Any, x: Any) -> Any:
        axis = params["axis"]
        if params["reverse"]:
            return np.flip(function(np.flip(x, axis), axis), axis)
        return function(x, axis)

    return apply


_one("cumsum")(_cumulative(lambda x, axis: np.cumsum(x, axis, dtype=x.dtype)))
_one("cumprod")(_cumulative(lambda x, axis: np.cumprod(x, axis, dtype=x.dtype)))
_one("cummax")(_cumulative(np.maximum.accumulate))
_one("cummin")(_cumulative(np.minimum.accumulate))
_one("cumlogsumexp")(_cumulative(np.logaddexp.accumulate))


@_rule("sort")
def _sort(eqn: Any, *xs: Any) -> Any:
    axis, keys = eqn.params["dimension"], xs[: eqn.params["num_keys"]]
    order = np.lexsort(tuple(reversed(keys)), axis) if len(xs) > 1 else None
    if order is None:
        return [np.sort(xs[0], axis)]
    return [np.take_along_axis(x, order, axis) for x in xs]


@_one("dot_general")
def _dot(params: Any, a: Any, b: Any) -> Any:
    (left, right), (left_batch, right_batch) = params["dimension_numbers"]
    names = iter("abcdefghijklmnopqrstuvwxyz")
    first = [next(names) for _ in range(a.ndim)]
    second = [next(names) for _ in range(b.ndim)]
    for i, j in zip((*left, *left_batch), (*right, *right_batch), strict=True):
        second[j] = first[i]
    batch = [first[i] for i in left_batch]
    rest = [first[i] for i in range(a.ndim) if i not in (*left, *left_batch)]
    rest += [second[j] for j in range(b.ndim) if j not in (*right, *right_batch)]
    out = np.dtype(params["preferred_element_type"] or a.dtype)
    equation = f"{''.join(first)},{''.join(second)}->{''.join([*batch, *rest])}"
    return np.einsum(equation, a.astype(out), b.astype(out))


@_rule("fft")
def _fft(eqn: Any, x: Any) -> Any:
    lengths = eqn.params["fft_lengths"]
    if 0 in lengths:
        return [np.zeros(eqn.outvars[0].aval.shape, eqn.outvars[0].aval.dtype)]
    kind = jax.lax.FftType(eqn.params["fft_type"]).name.lower()
    axes = range(-len(lengths), 0)
    if "irfft" in kind:
        return [np.fft.irfftn(x, lengths, axes).astype(np.float32)]
    names = {"ifft": np.fft.ifftn, "rfft": np.fft.rfftn}
    function = next((f for name, f in names.items() if name in kind), np.fft.fftn)
    return [function(x, lengths, axes).astype(np.complex64)]


@_rule("cond")
def _cond(eqn: Any, index: Any, *operands: Any) -> Any:
    branches = eqn.params["branches"]
    body = branches[min(max(int(index), 0), len(branches) - 1)]
    return _run(body, _compat.constants(body), operands)


@_rule("while")
def _while(eqn: Any, *operands: Any) -> Any:
    test, body = eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"]
    first, second = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    outer, inner = operands[:first], operands[first : first + second]
    carry = list(operands[first + second :])
    while bool(_run(test, _compat.constants(test), [*outer, *carry])[0]):
        carry = _run(body, _compat.constants(body), [*inner, *carry])
    return carry


@_rule("scan")
def _scan(eqn: Any, *operands: Any) -> Any:
    body, length = eqn.params["jaxpr"], eqn.params["length"]
    consts, carries = _compat.scan_counts(eqn)
    fixed, carry = operands[:consts], list(operands[consts : consts + carries])
    rows: list[Any] = [None] * length
    order = range(length)
    for k in reversed(order) if eqn.params["reverse"] else order:
        slices = [x[k] for x in operands[consts + carries :]]
        out = _run(body, _compat.constants(body), [*fixed, *carry, *slices])
        carry, rows[k] = out[:carries], out[carries:]
    stacked = []
    for k, var in enumerate(eqn.outvars[carries:]):
        column = [row[k] for row in rows]
        stacked.append(np.stack(column) if column else np.zeros(var.aval.shape, var.aval.dtype))
    return [*carry, *stacked]
