"""Program and bucket to a static function of true sizes and padded arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from sod2jax import _compat
from sod2jax.ir.dims import Dim
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region, upper
from sod2jax.rdp import ValueRange
from sod2jax.rewrite import rules as rules
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import interpret
from sod2jax.rewrite.masks import MaskRecord
from sod2jax.rewrite.padded import Padded, constant_fill
from sod2jax.rewrite.placement import Birth, Notes, Wish
from sod2jax.target import Target

__all__ = [
    "Birth",
    "MaskRecord",
    "Notes",
    "Wish",
    "padded_function",
    "padded_results",
    "padded_shapes",
]


def padded_shapes(program: Program, region: Region) -> tuple[tuple[int, ...], ...]:
    """Padded shape of each flat input for an executable that serves ``region``."""
    return tuple(tuple(upper(d, region) for d in shape) for shape in program.in_shapes)


def padded_results(program: Program, region: Region) -> list[tuple[tuple[int, ...], Any]]:
    """Padded shape and dtype of each flat output."""
    pairs = zip(program.out_shapes, program.results, strict=False)
    return [(tuple(upper(d, region) for d in shape), x.aval.dtype) for shape, x in pairs]


def padded_function(
    program: Program,
    region: Region,
    value_range: ValueRange,
    target: Target,
    note: Callable[[Notes], None],
    deep_poison: bool = False,
    wished: Sequence[Wish | Birth] = (),
    zeroed: Sequence[bool] = (),
) -> Callable[..., list[Any]]:
    """The program on padded arrays.

    Args:
      program: what to run.
      region: the sizes to serve; it fixes the padded shapes.
      value_range: what the analysis knows of an operand's integers.
      target: what it is compiled for.
      note: is told of the masks, once, when the function is traced.
      deep_poison: whether to overwrite all pad lanes, of every value, that nothing is known of.
      wished: masks to have, as an earlier rewrite of the program noted.
      zeroed: for each input, whether whoever calls the function sees to zeros in its pad lanes; of
        none by default.

    Returns:
      A function of (int32[k] true sizes in the order of ``program.symbols``, constants, inputs)
      that returns the padded outputs, true lanes first on every axis.
    """

    def run(sizes: Any, constants: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        true = {name: sizes[k] for k, name in enumerate(program.symbols)}
        shared = zip(map(id, _compat.all_constants(program.jaxpr)), constants, strict=True)
        ctx = Context(
            true,
            region,
            interpret,
            value_range,
            target,
            dict(shared),
            deep_poison=deep_poison,
            wished=wished,
        )
        promised = zeroed or (False,) * len(inputs)
        args = [
            ctx.ready(_input(x, shape, zeros))
            for x, shape, zeros in zip(inputs, program.in_shapes, promised, strict=True)
        ]
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            results = ctx.run(program.jaxpr, args)  # what the user made strict is for user code
        outputs = [ctx.compact(result).array for result in results]
        ctx.note_reads(results)
        ctx.note_births()
        note(ctx.notes)
        return [
            _compat.with_weak_type(out, atom.aval)
            for out, atom in zip(outputs, program.jaxpr.outvars, strict=True)
        ]

    return run


def _input(array: Any, shape: Sequence[Dim], zeros: bool) -> Padded:
    """An input; what its pad lanes hold is known if they hold zeros, and those are numbers."""
    value = Padded.prefix(array, shape)
    if not zeros or array.dtype == jax.dtypes.float0 or _compat.is_key_array(array):
        return value
    zero = False if array.dtype == bool else 0
    return dataclasses.replace(value, fills=dict.fromkeys(value.padded_axes, constant_fill(zero)))
