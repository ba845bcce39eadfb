"""The padded program of one example, batched over rows with sizes of their own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax import _compat, rewrite, transfer
from sod2jax.buckets.bucket import Bucket
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region
from sod2jax.pipeline import Analysis
from sod2jax.ragged import true_sizes

_MOST = 1 << 26  # bytes that the terms of sums over rows may take at a time


@dataclasses.dataclass(frozen=True)
class RowAxes:
    """Which arrays have rows.

    Attributes:
      mapped: the inputs that have.
      summed: the outputs that have not: their rows are added.
      checked: sizes are traced; rows with sizes out of range hold NaN.
    """

    mapped: tuple[bool, ...]
    summed: tuple[bool, ...]
    checked: bool = False

    @classmethod
    def with_outputs(cls, mapped: tuple[bool, ...], outputs: int, checked: bool = False) -> RowAxes:
        """Where all outputs have rows."""
        return cls(mapped, (False,) * outputs, checked)


def batched(analysis: Analysis, bucket: Bucket, axes: RowAxes) -> Callable[..., list[Any]]:
    """The program over rows.

    Returns:
      A function of (int32[B, k] true sizes in the order of the program's symbols, bool[B] or None
      for the rows that count, constants, inputs) that returns the outputs, [B, ...] or summed, with
      zeros in pad lanes and in rows that do not count.
    """
    program = analysis.program
    region = program.region.below(bucket)
    run = rewrite.padded_function(
        program,
        region,
        analysis.facts.value_range,
        analysis.target,
        lambda notes: None,
        analysis.deep_poison,
    )
    by_size = len(program.in_shapes) - len(axes.mapped)
    in_axes = [*(0 if rows else None for rows in axes.mapped), *[0] * by_size]
    point = true_sizes.largest(region) or {}

    def one(true: Any, constants: Any, inputs: list[Any]) -> list[Any]:
        at = {name: true[k] for k, name in enumerate(program.symbols)}
        outputs = run(true, constants, inputs)
        return [_cut(y, shape, at) for y, shape in zip(outputs, program.out_shapes, strict=True)]

    def over_rows(true: Any, present: Any, constants: Any, inputs: list[Any]) -> list[Any]:
        valid = None
        if axes.checked:
            valid = _inside(region, true)
            safe = np.array([point[name] for name in region.names], np.int32)
            true = _select(valid, true, jnp.broadcast_to(safe, true.shape))
        mapped = [x if axis == 0 else None for x, axis in zip(inputs, in_axes, strict=True)]

        def some(rows: Any) -> list[Any]:
            true, present, mapped = rows
            merged = [x if m is None else m for x, m in zip(inputs, mapped, strict=True)]
            outputs = jax.vmap(one, in_axes=(0, None, in_axes))(true, constants, merged)
            return [
                _counted(y, summed, present) for y, summed in zip(outputs, axes.summed, strict=True)
            ]

        outputs = _in_parts(some, (true, present, mapped), axes.summed)
        if valid is not None:
            outputs = [
                _select(jnp.all(valid) if summed else valid, y, _filled(y, None))
                for y, summed in zip(outputs, axes.summed, strict=True)
            ]
        return [
            _compat.with_weak_type(y, atom.aval)
            for y, atom in zip(outputs, program.jaxpr.outvars, strict=True)
        ]

    over_rows.__name__ = over_rows.__qualname__ = program.name
    return over_rows


def _inside(region: Region, true: Any) -> Any:
    """bool[B]: whether true sizes int32[B, k] lie in the region."""
    at = {name: true[:, k] for k, name in enumerate(region.names)}
    checks = [(at[n] >= low) & (at[n] <= high) for n, low, high in region.ranges]
    checks += [c.holds(at) for c in region.constraints]
    return functools.reduce(lambda a, b: a & b, checks, jnp.ones(true.shape[0], bool))


def _cut(array: Any, shape: Sequence[Dim], at: Mapping[str, Any]) -> Any:
    """An output with zeros in its pad lanes; those of keys keep what they hold."""
    axes = [axis for axis, dim in enumerate(shape) if dims.is_symbolic(dim)]
    if not axes or _compat.is_key_array(array):
        return array
    lanes = [
        lax.broadcasted_iota(np.int32, array.shape, axis) < dims.evaluate(shape[axis], at)
        for axis in axes
    ]
    inside = functools.reduce(lambda a, b: a & b, lanes)
    return lax.select(inside, array, jnp.zeros_like(array))


def _in_parts(call: Callable[[Any], list[Any]], rows: Any, summed: Sequence[bool]) -> list[Any]:
    """``call(rows)``, a few rows at a time if the terms of its sums would take much memory."""
    count = jax.tree.leaves(rows)[0].shape[0]
    shapes = jax.eval_shape(call, rows)
    size = sum(y.size * y.dtype.itemsize for y, s in zip(shapes, summed, strict=True) if s)
    part = max(k for k in range(1, count + 1) if count % k == 0 and (k == 1 or k * size <= _MOST))
    if part == count:
        return call(rows)

    def step(sums: list[Any], few: Any) -> tuple[list[Any], list[Any]]:
        outputs = call(few)
        terms = [y for y, s in zip(outputs, summed, strict=True) if s]
        rest = [y for y, s in zip(outputs, summed, strict=True) if not s]
        return [a + b for a, b in zip(sums, terms, strict=True)], rest

    parts = jax.tree.map(lambda x: x.reshape(count // part, part, *x.shape[1:]), rows)
    zeros = [jnp.zeros(y.shape, y.dtype) for y, s in zip(shapes, summed, strict=True) if s]
    sums, rest = lax.scan(step, zeros, parts)
    joined = iter([y.reshape(count, *y.shape[2:]) for y in rest])
    added = iter(sums)
    return [next(added) if s else next(joined) for s in summed]


def _counted(array: Any, summed: bool, present: Any) -> Any:
    """One output with zeros in rows that do not count; the sum of its rows if it is summed."""
    if present is not None:
        array = _select(present, array, _filled(array, 0))
    return jnp.sum(array, axis=0, dtype=array.dtype) if summed else array


def _select(rows: Any, chosen: Any, other: Any) -> Any:
    return lax.select(lax.broadcast_in_dim(rows, chosen.shape, range(rows.ndim)), chosen, other)


def _filled(like: Any, value: Any) -> Any:
    """An array full of a number, by default one that shows; keys stay as they are."""
    if _compat.is_key_array(like):
        return like
    number = transfer.poison_value(like.dtype) if value is None else value
    return jnp.full(like.shape, number, like.dtype)
