"""Compares every fact of a program with what concrete runs show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import dtypes

from sod2jax.ir import dims
from sod2jax.rdp import Facts
from sod2jax.rdp.lattice import Element
from sod2jax.rdp.values import Range, is_integer
from tests.rdp.concrete import Evaluator, arguments, fresh, record

Sizes = Mapping[str, int]


def check(facts: Facts, sizes: Sizes, seed: int = 0) -> None:
    """Asserts shapes, values, flow and demand at one point."""
    args = arguments(facts.jaxpr, sizes, seed)
    outs, values = record(facts.jaxpr, args, sizes)
    for var, found in values.items():
        for array in found:
            check_shape(facts, var, array, sizes)
            check_value(facts, var, array, sizes)
    check_demand(facts, args, outs, sizes)


def check_shape(facts: Facts, var: Any, array: Any, sizes: Sizes) -> None:
    shape = facts.shape(var).constants
    assert shape is not None
    assert tuple(dims.evaluate(d, sizes) for d in shape) == np.shape(array), (var, shape)


def check_value(facts: Facts, var: Any, array: Any, sizes: Sizes) -> None:
    value = facts.value(var)
    assert value.every is not Element.UNDEF
    if not is_integer(array.dtype):
        assert value.every is Element.NAC
        return
    numbers = np.asarray(array).astype(object)
    pairs = [(value.every, numbers.ravel())]
    if value.elements is not None:
        assert len(value.elements) == len(numbers)
        pairs += zip(value.elements, numbers.reshape(-1, 1), strict=True)
    for expected, part in pairs:
        if not isinstance(expected, Range) or not part.size:
            continue
        low, high = (dims.evaluate(end, sizes) for end in (expected.low, expected.high))
        assert low <= part.min() and part.max() <= high, (var, expected, part)


def check_demand(facts: Facts, args: Sequence[Any], outs: Sequence[Any], sizes: Sizes) -> None:
    """What is not needed may hold anything."""
    rng = np.random.default_rng(1)

    def spoil(var: Any, value: Any) -> Any:
        needed = facts.demand(var).axes
        if (needed is not None and not any(needed)) or not _is_plain(value):
            return value
        garbage = _garbage(rng, value)
        if needed is None:
            return garbage
        kept = np.ones(value.shape, bool)
        for axis, part in enumerate(needed):
            if part is not None:
                start, limit = (dims.evaluate(end, sizes) for end in part)
                assert 0 <= start <= limit <= value.shape[axis]
                lanes = np.arange(value.shape[axis])
                shape = [-1 if k == axis else 1 for k in range(value.ndim)]
                kept &= ((lanes >= start) & (lanes < limit)).reshape(shape)
        return jax.numpy.asarray(np.where(kept, value, garbage))

    spoiled = Evaluator(sizes, spoil).run(facts.jaxpr, args)
    for a, b in zip(outs, spoiled, strict=True):
        assert same(a, b).all()


def _garbage(rng: np.random.Generator, value: Any) -> np.ndarray:
    if dtypes.issubdtype(value.dtype, np.inexact):
        return np.full(value.shape, np.nan, value.dtype)
    return fresh(rng, value.shape, value.dtype)


def _is_plain(value: Any) -> bool:
    return not dtypes.issubdtype(value.dtype, dtypes.extended)


def same(a: Any, b: Any) -> np.ndarray:
    """Elementwise equality, where NaN equals NaN; key arrays by their data."""
    if not _is_plain(a):
        a, b = (jax.random.key_data(x) for x in (a, b))
        return (np.asarray(a) == np.asarray(b)).all(-1)
    a, b = np.asarray(a), np.asarray(b)
    return (a == b) | ((a != a) & (b != b))


def check_flow(facts: Facts, sizes: Sizes, seed: int = 0) -> int:
    """Asserts that a changed input lane changes only the lanes aligned with it.

    Returns:
      How many alignments were tested.
    """
    args = arguments(facts.jaxpr, sizes, seed)
    _, before = record(facts.jaxpr, args, sizes)
    rng, tested = np.random.default_rng(2), 0
    for index, arg in enumerate(args):
        for axis in range(arg.ndim):
            for lane in {0, arg.shape[axis] - 1}:
                changed = _with_new_lane(rng, arg, axis, lane)
                _, after = record(facts.jaxpr, [*args[:index], changed, *args[index + 1 :]], sizes)
                tested += _compare(facts, before, after, (index, axis), lane)
    return tested


def _with_new_lane(rng: np.random.Generator, arg: np.ndarray, axis: int, lane: int) -> np.ndarray:
    changed = arg.copy()
    at = (slice(None),) * axis + (lane,)
    changed[at] = fresh(rng, changed[at].shape, arg.dtype)
    return changed


def _compare(facts: Facts, before: dict, after: dict, source: tuple[int, int], lane: int) -> int:
    tested = 0
    for var, arrays in before.items():
        others = after.get(var, [])
        if len(arrays) != len(others):  # another branch, or another number of iterations
            continue
        aligned = [k for k, lanes in enumerate(facts.flow(var)) if source in lanes]
        inputs = facts.inputs(var)
        for a, b in zip(arrays, others, strict=True):
            equal = same(a, b)
            assert source[0] in inputs or equal.all(), (var, source)
            for k in aligned:
                assert np.delete(equal, lane, axis=k).all(), (var, k, source, lane)
                tested += 1
    return tested
