"""Calls with padded arguments: their sizes, and results stacked in the same form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import ShapeError, TraceError, UnsupportedPrimitiveError
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region, upper
from sod2jax.planning.exact import Exact, debugging
from sod2jax.planning.specialise import Specialisation
from sod2jax.ragged import arrays, true_sizes
from sod2jax.ragged.batch import Argument, Batch, Ragged
from sod2jax.ragged.batched import RowAxes
from sod2jax.ragged.over_rows import OverRows
from sod2jax.ragged.programs import RowSet
from sod2jax.ragged.true_sizes import GivenSizes


def run_stacked(
    over: OverRows, name: str, arguments: Sequence[Argument], batch: Batch, region: Region
) -> Any:
    """Runs a call with padded arguments; ``region`` is the range of the symbols.

    Returns:
      The results stacked: [B, ...], or ``Ragged`` where sizes vary.

    Raises:
      SpecError, ShapeError: sizes are missing, disagree or are out of range.
      TraceError, UnsupportedPrimitiveError: sizes are traced, and no one program serves them.
    """
    by_symbol, agree = _sizes(name, arguments, batch)
    most = true_sizes.most(batch.leaves, region)
    is_open = any(region.range(symbol)[1] is None for symbol in most)
    if arrays.is_traced(agree, *by_symbol.values()):
        batch = dataclasses.replace(batch, traced=by_symbol)
        over = over.within(most) if is_open and not _covers(over, batch, most) else over
        return _run_traced(over, batch, by_symbol, agree, most)
    at = [{n: int(v[row]) for n, v in by_symbol.items()} for row in range(batch.count)]
    batch = dataclasses.replace(batch, sizes=at)
    over = over.within(most) if is_open and not _serves(over, batch, most) else over
    return _run_concrete(over, name, batch, most)


def _covers(over: OverRows, batch: Batch, most: Mapping[str, int]) -> bool:
    """Whether one program serves all sizes below ``most`` without knowing that bound."""
    try:
        over.plans.covering(batch, most)
    except TraceError:
        return False
    return True


def _serves(over: OverRows, batch: Batch, most: Mapping[str, int]) -> bool:
    """Whether the rows can be traced without knowing the bound."""
    try:
        over.plans.reference(batch, most)
    except TraceError:
        return False
    plans = over.plans.of(batch)
    return not any(isinstance(p, Exact) and isinstance(p.error, TraceError) for p in plans)


def _sizes(name: str, arguments: Sequence[Argument], batch: Batch) -> tuple[dict[str, Any], Any]:
    """int32[B] for each symbol, and whether the sizes of each row agree: bool[B]."""
    given: list[GivenSizes] = []
    start = 0
    for argument in arguments:
        for places, own in argument.sizes:
            leaves = [batch.leaves[start + place] for place in places]
            given += true_sizes.named_sizes(argument.name, leaves, own, batch.count)
        start += len(argument.columns)
    for leaf in batch.leaves:
        if any(type(size) is not int for size in leaf.aval.shape):
            raise TraceError(
                f"{name} needs padded arrays of fixed shape, but '{leaf.name}' has the symbolic "
                f"shape {leaf.aval.shape}"
            )
    varying = [
        (leaf, rows)
        for leaf, rows in zip(batch.leaves, batch.mapped, strict=True)
        if leaf.is_symbolic
    ]
    given += [
        GivenSizes(d, np.full(batch.count, size, np.int32), f"the shape of '{leaf.name}'")
        for leaf, rows in varying
        for d, size in zip(leaf.shape, leaf.aval.shape, strict=True)
        if dims.is_symbolic(d) and not rows
    ]
    by_symbol = true_sizes.solve(given, [leaf for leaf, _ in varying])
    padded = [leaf for leaf, rows in varying if rows]
    agree, problem = true_sizes.consistent(by_symbol, given, padded, batch.count)
    if problem is not None:
        raise ShapeError(problem)
    return by_symbol, agree


def _run_traced(
    over: OverRows, batch: Batch, by_symbol: Mapping[str, Any], agree: Any, most: Mapping[str, int]
) -> Any:
    """The results where a transformation traces the sizes: one program must serve all rows."""
    specialisation = over.plans.covering(batch, most)
    program = specialisation.analysis.program
    true = jnp.stack([jnp.where(agree, by_symbol[name], 0) for name in program.symbols], axis=1)
    outputs = _at(over, batch, specialisation, most, true, checked=True)
    return _assembled(
        program, outputs, lambda k, axis: dims.evaluate(program.out_shapes[k][axis], by_symbol)
    )


def _run_concrete(over: OverRows, name: str, batch: Batch, most: Mapping[str, int]) -> Any:
    """The results where no size is traced, in the form that the program for ``most`` gives."""
    reference = over.plans.reference(batch, most)
    program = reference.analysis.program
    shapes = _padded_out(program, most)
    if over.plans.only(batch) is reference and shapes is not None and not debugging():
        try:
            outputs = _one_program(over, batch, reference, most, shapes)
        except UnsupportedPrimitiveError:
            pass  # row by row
        else:
            true = [plan.out_shapes for plan in over.plans.served(batch)]
            return _assembled(program, outputs, lambda k, axis: _column(true, k, axis))
    results = over.results(batch, exact=debugging())
    _check_alike(name, program, results)
    columns = [[leaves[k] for _, leaves in results] for k in range(len(program.out_shapes))]
    outputs = [
        _stacked(column, np.shape(column[0]) if shapes is None else shapes[k])
        for k, column in enumerate(columns)
    ]
    true = [[np.shape(y) for y in leaves] for _, leaves in results]
    return _assembled(program, outputs, lambda k, axis: _column(true, k, axis))


def _padded_out(program: Program, most: Mapping[str, int]) -> list[arrays.Shape] | None:
    """The padded shapes of the outputs; None if a decision replaced symbols of the specs."""
    if set(program.symbols) != set(most):
        return None
    region = program.region.below(most)
    return [tuple(upper(d, region) for d in shape) for shape in program.out_shapes]


def _one_program(
    over: OverRows,
    batch: Batch,
    specialisation: Specialisation,
    most: Mapping[str, int],
    shapes: Sequence[arrays.Shape],
) -> list[Any]:
    if not batch.is_traced:
        return over.padded(batch, specialisation, shapes)
    true = np.stack([plan.sizes for plan in over.plans.served(batch)])
    return _at(over, batch, specialisation, most, true, checked=False)


def _at(
    over: OverRows,
    batch: Batch,
    specialisation: Specialisation,
    most: Mapping[str, int],
    true: Any,
    *,
    checked: bool,
) -> list[Any]:
    """The outputs of all rows, with the padded sizes of the arguments for a bucket."""
    outputs = len(specialisation.analysis.program.out_shapes)
    axes = RowAxes.with_outputs(batch.mapped, outputs, checked)
    every = RowSet(range(batch.count), batch.count, true, None)
    return over.programs.run(batch, specialisation, Bucket.of(most), axes, every)


def _check_alike(name: str, program: Program, results: Sequence[tuple[Any, list[Any]]]) -> None:
    """Raises where results of rows that ran apart differ in more than sizes."""
    expected = [(atom.aval.dtype, atom.aval.ndim) for atom in program.jaxpr.outvars]
    for tree, leaves in results:
        alike = tree == program.out_tree and expected == [(y.dtype, y.ndim) for y in leaves]
        if not alike or any(
            isinstance(d, int) and d != size
            for y, shape in zip(leaves, program.out_shapes, strict=True)
            for d, size in zip(shape, y.shape, strict=True)
        ):
            raise ShapeError(
                f"rows of {name} give results that differ in more than their sizes, which cannot "
                "be stacked: pass a list of examples"
            )


def _stacked(column: Sequence[Any], shape: arrays.Shape) -> Any:
    """[B, ...]: outputs of rows, padded to ``shape`` or more."""
    wide = tuple(np.max([shape, *map(np.shape, column)], axis=0, initial=0).tolist())
    out = arrays.stack(column, column[0].dtype, wide, len(column))
    return out if isinstance(out, jax.Array) else _compat.host_to_device(out, column[0])


def _column(true: Sequence[Sequence[arrays.Shape]], k: int, axis: int) -> Any:
    return jax.device_put(np.array([shapes[k][axis] for shapes in true], np.int32))


def _assembled(program: Program, outputs: Sequence[Any], true: Callable[[int, int], Any]) -> Any:
    """The user's tree of stacked results; ``true(k, axis)`` gives int32[B] sizes of an output."""
    if program.has_sizes_in_tree:
        raise ShapeError(
            f"{program.name} returns sizes outside of arrays, which rows cannot share: pass a list "
            "of examples"
        )
    leaves = []
    for k, (array, shape) in enumerate(zip(outputs, program.out_shapes, strict=True)):
        named: dict[Dim, Any] = {}
        for axis, dim in enumerate(shape):
            if dims.is_symbolic(dim) and dim not in named:
                named[dim] = true(k, axis)
        if len(named) > 1:
            leaves.append(Ragged(array, {str(dim): values for dim, values in named.items()}))
        else:
            leaves.append(Ragged(array, *named.values()) if named else array)
    return jax.tree.unflatten(program.out_tree, leaves)
