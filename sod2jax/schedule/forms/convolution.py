"""Convolutions that XLA's CPU backend runs in plain loops, as products of slices or as matmuls.

Measured on jax 0.10, against the convolution as it is: depthwise by taps 0.02 to 0.08, four groups
apart 0.3 to 0.6, one position 0.76 to 0.92; in the body of a loop, with features last in place of
features first, 0.02. Padding holds zeros in both forms, and a zero times a weight
that is not finite is NaN in both.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax._compat import JaxprEqn
from sod2jax.schedule.axes import features_last, features_out_last
from sod2jax.schedule.forms.form import Form, in_pairs, is_accumulated, register_form, strided

_MOST_TAPS = 128  # each is an operation to compile
_SUMS = 16  # in one loop: more do not make it faster
_MOST_GROUPS = 8  # with more, the parts are too small to be worth a call each


@dataclasses.dataclass(frozen=True)
class _Convolution:
    """A convolution with its arrays laid out as (batch, space..., features).

    Attributes:
      params: of the equation.
      lhs: shape of the operand.
      rhs: shape of the weights, (space..., features in, features out).
      out: shape of the result.
    """

    params: dict[str, Any]
    lhs: tuple[int, ...]
    rhs: tuple[int, ...]
    out: tuple[int, ...]

    @classmethod
    def of(cls, eqn: JaxprEqn) -> _Convolution:
        numbers = eqn.params["dimension_numbers"]
        lhs, rhs = (atom.aval.shape for atom in eqn.invars)
        return cls(
            eqn.params,
            tuple(lhs[k] for k in features_last(numbers.lhs_spec)),
            tuple(rhs[k] for k in features_out_last(numbers.rhs_spec)),
            tuple(eqn.outvars[0].aval.shape[k] for k in features_last(numbers.out_spec)),
        )

    @property
    def window(self) -> tuple[int, ...]:
        """Positions of the weights along each axis of space."""
        return self.rhs[:-2]

    @property
    def is_plain(self) -> bool:
        """Whether it neither strides, pads, dilates nor groups."""
        p = self.params
        ones = (*p["window_strides"], *p["lhs_dilation"], *p["rhs_dilation"])
        groups = (p["feature_group_count"], p["batch_group_count"])
        return {*ones, *groups} == {1} and not any(map(any, p["padding"]))


@register_form("cpu", "conv_general_dilated")
def _convolution(eqn: JaxprEqn) -> Form | None:
    conv = _Convolution.of(eqn)
    groups, batches = eqn.params["feature_group_count"], eqn.params["batch_group_count"]
    taps = math.prod(conv.window)
    if not _is_real(eqn) or 0 in (*conv.lhs, *conv.rhs, *conv.out):
        return None
    if groups > 1 and conv.rhs[-2] == 1 and taps <= _MOST_TAPS:
        return Form(
            f"depthwise convolution by {taps} taps",
            functools.partial(_by_taps, eqn, conv),
            "a sum of slices times weights is one fused loop",
        )
    if batches > 1 and _is_depthwise_gradient(conv, batches):
        positions = math.prod(conv.out[1:-1])
        return Form(
            f"weight gradient of a depthwise convolution by {positions} taps",
            functools.partial(_weights_by_taps, eqn, conv),
            "a sum of products of slices for each weight is a fused loop",
        )
    if 1 < groups <= _MOST_GROUPS:
        return Form(
            f"convolution in {groups} groups apart",
            functools.partial(_by_groups, eqn),
            "convolutions without groups run as matrix products",
        )
    if taps == 1 and conv.is_plain and math.prod(conv.lhs[:-1]) > 1:
        return Form(
            "convolution of one position as a matrix product",
            functools.partial(_as_product, eqn),
            "it needs no windows",
            # XLA makes an operand of a product in another shape: twice, if others read it, too.
            is_sole_reader=True,
        )
    return None


@register_form("cpu", "conv_general_dilated", in_bodies=True)
def _ordered(eqn: JaxprEqn) -> Form | None:
    if _is_ordered(eqn) or not _is_real(eqn):
        return None
    return Form(
        "convolution of a body with its features last",
        functools.partial(_in_order, eqn),
        "outside of bodies the compiler brings them into the order of its kernels, inside it does "
        "not",
    )


def _is_ordered(eqn: JaxprEqn) -> bool:
    numbers = eqn.params["dimension_numbers"]
    sides = features_last(numbers.lhs_spec), features_last(numbers.out_spec)
    plain = tuple(range(len(numbers.lhs_spec)))
    return {*sides, features_out_last(numbers.rhs_spec)} == {plain}


def _in_order(eqn: JaxprEqn, x: Any, weights: Any, **changed: Any) -> Any:
    """The convolution of arrays that are laid out with their features last."""
    numbers = eqn.params["dimension_numbers"]
    rank = x.ndim
    space = tuple(range(1, rank - 1))
    last = lax.ConvDimensionNumbers(
        (0, rank - 1, *space), (rank - 1, rank - 2, *range(rank - 2)), (0, rank - 1, *space)
    )
    out = eqn.primitive.bind(
        lax.transpose(x, features_last(numbers.lhs_spec)),
        lax.transpose(weights, features_out_last(numbers.rhs_spec)),
        **{**eqn.params, **changed, "dimension_numbers": last},
    )
    return lax.transpose(out, np.argsort(features_last(numbers.out_spec)))


def _by_taps(eqn: JaxprEqn, conv: _Convolution, x: Any, weights: Any) -> Any:
    """Sum over taps of a strided slice of the padded operand times one weight per feature."""
    numbers, p = eqn.params["dimension_numbers"], eqn.params
    wide = _accumulator(eqn)
    x = lax.transpose(x, features_last(numbers.lhs_spec)).astype(wide)
    weights = lax.transpose(weights, features_out_last(numbers.rhs_spec)).astype(wide)
    each = conv.out[-1] // conv.lhs[-1]
    x = jnp.repeat(x, each, axis=-1) if each > 1 else x
    x = _padded(eqn, x)
    terms = (
        _window(x, at, conv.out[1:-1], p["window_strides"])
        * lax.broadcast(weights[(*tap, 0)], conv.out[:-1])
        for tap, at in _taps(conv.window, p["rhs_dilation"])
    )
    return _result(eqn, in_pairs(operator.add, terms))


def _is_depthwise_gradient(conv: _Convolution, batches: int) -> bool:
    """Whether each feature of the result is made of one batch of the operand and one feature."""
    one_each = conv.lhs[0] == batches == conv.out[-1] and conv.params["feature_group_count"] == 1
    return one_each and math.prod(conv.out[1:-1]) <= _MOST_TAPS


def _weights_by_taps(eqn: JaxprEqn, conv: _Convolution, x: Any, gradient: Any) -> Any:
    """For each position of the result, the sum of a slice of the operand times the gradient.

    The features of the layer are the operand's batches, and its batches both arrays' features in.
    """
    numbers, p = eqn.params["dimension_numbers"], eqn.params
    wide = _accumulator(eqn)
    x = _padded(eqn, lax.transpose(x, _last_batches(numbers.lhs_spec)).astype(wide))
    gradient = lax.transpose(gradient, _last_batches(numbers.rhs_spec)).astype(wide)
    terms = [
        _window(x, at, conv.window, p["rhs_dilation"]) * gradient
        for _, at in _taps(conv.out[1:-1], p["window_strides"])
    ]
    rows = tuple(range(x.ndim - 1))
    sums = [
        total for k in range(0, len(terms), _SUMS) for total in _sums(terms[k : k + _SUMS], rows)
    ]
    return _result(eqn, jnp.stack(sums).reshape(1, *conv.out[1:-1], conv.out[-1]))


def _sums(terms: Sequence[Any], axes: Sequence[int]) -> Sequence[Any]:
    """Sums of several arrays over the same axes, in one loop."""
    zeros = (np.zeros((), terms[0].dtype),) * len(terms)
    return lax.reduce(tuple(terms), zeros, _added, tuple(axes))


def _added(left: Sequence[Any], right: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _by_groups(eqn: JaxprEqn, x: Any, weights: Any) -> Any:
    numbers, groups = eqn.params["dimension_numbers"], eqn.params["feature_group_count"]
    parts = zip(
        jnp.split(x, groups, numbers.lhs_spec[1]),
        jnp.split(weights, groups, numbers.rhs_spec[0]),
        strict=True,
    )
    outs = [_in_order(eqn, part, weight, feature_group_count=1) for part, weight in parts]
    # As an axis of its own, beside the features: one loop less than joining them along these.
    axis = numbers.out_spec[1]
    return jnp.stack(outs, axis).reshape(eqn.outvars[0].aval.shape)


def _as_product(eqn: JaxprEqn, x: Any, weights: Any) -> Any:
    numbers = eqn.params["dimension_numbers"]
    x = lax.transpose(x, features_last(numbers.lhs_spec))
    weights = lax.transpose(weights, features_out_last(numbers.rhs_spec))
    weights = weights.reshape(weights.shape[-2:])
    out = lax.dot_general(
        x,
        weights,
        (((x.ndim - 1,), (0,)), ((), ())),
        precision=eqn.params["precision"],
        preferred_element_type=eqn.params["preferred_element_type"],
    )
    return lax.transpose(out, np.argsort(features_last(numbers.out_spec)))


def _padded(eqn: JaxprEqn, x: Any) -> Any:
    """The operand, (batch, space..., features), dilated and with its padding."""
    padding = zip(eqn.params["padding"], eqn.params["lhs_dilation"], strict=True)
    space = [(low, high, dilation - 1) for (low, high), dilation in padding]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *space, (0, 0, 0)])


def _taps(
    window: Sequence[int], steps: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yields each position of a window, and where it lies."""
    for tap in itertools.product(*map(range, window)):
        yield tap, tuple(k * step for k, step in zip(tap, steps, strict=True))


def _window(x: Any, at: Sequence[int], size: Sequence[int], strides: Sequence[int]) -> Any:
    """What all windows of ``x``, (batch, space..., features), have at one of their positions."""
    rest = x.shape[1 + len(at) :]
    starts, sizes = (0, *at, *[0] * len(rest)), (x.shape[0], *size, *rest)
    return strided(x, starts, sizes, (1, *strides, *[1] * len(rest)))


def _is_real(eqn: JaxprEqn) -> bool:
    return all(is_accumulated(v.aval.dtype) for v in (*eqn.invars, *eqn.outvars))


def _accumulator(eqn: JaxprEqn) -> Any:
    """The dtype of sums: at least 32 bits."""
    return jnp.promote_types(eqn.outvars[0].aval.dtype, np.float32)


def _result(eqn: JaxprEqn, array: Any) -> Any:
    """The array, laid out as the equation's result."""
    numbers = eqn.params["dimension_numbers"]
    out = lax.transpose(array, np.argsort(features_last(numbers.out_spec)))
    return out.astype(eqn.outvars[0].aval.dtype)


def _last_batches(spec: Sequence[int]) -> tuple[int, ...]:
    """The axes of an operand or weights as (features in, space..., batch or features out)."""
    return (spec[1], *spec[2:], spec[0])
