"""Derivatives of programs over rows: the pullback of one example, over the same rows.

A padded program is never differentiated itself: garbage in pad lanes would turn into NaN by
``0 * inf``. Its pullback is another function of one example, traced with symbolic sizes and
rewritten in turn, and so on for higher orders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.program import Program
from sod2jax.options import Options
from sod2jax.planning.specialise import Specialisation
from sod2jax.ragged import arrays
from sod2jax.ragged.batch import Batch
from sod2jax.ragged.batched import RowAxes


def pullback(
    fun: Callable[..., Any], specialisation: Specialisation, tree: Any
) -> tuple[Callable[..., Any], Options]:
    """The pullback of one example, with its specs.

    It takes the inputs and the cotangents of the inexact outputs, and gives cotangents of the
    inexact inputs. It computes the function again: a trace has symbolic sizes of its own, so that
    it cannot take residuals from another.
    """
    program, regime = specialisation.analysis.program, specialisation.regime
    count = len(regime.leaves)
    inexact = _inexact(program.jaxpr.invars[:count])

    def pull(inputs: tuple[Any, ...], cotangents: tuple[Any, ...]) -> Any:
        def primal(*changed: Any) -> Any:
            leaves = list(inputs)
            for k, leaf in zip(inexact, changed, strict=True):
                leaves[k] = leaf
            outputs = jax.tree.leaves(fun(*jax.tree.unflatten(tree, leaves)))
            return tuple(y for y in outputs if jnp.issubdtype(jnp.result_type(y), np.inexact))

        return jax.vjp(primal, *(inputs[k] for k in inexact))[1](cotangents)

    outputs = [program.out_shapes[k] for k in _inexact(program.jaxpr.outvars)]
    specs = (tuple(map(_spec, program.in_shapes[:count])), tuple(map(_spec, outputs)))
    return pull, Options(shapes=specs, constraints=(*regime.constraints, *regime.limits))


def _spec(shape: Sequence[Dim]) -> str:
    return ", ".join(map(dims.jax_text, shape))


def _inexact(atoms: Sequence[Any]) -> list[int]:
    return [k for k, atom in enumerate(atoms) if jnp.issubdtype(atom.aval.dtype, np.inexact)]


@dataclasses.dataclass(frozen=True, eq=False)
class Differentiable:
    """A program over rows, called as ``plain`` is, that knows its derivative.

    Attributes:
      program: the program of one example.
      axes: which arrays have rows.
      plain: runs it on (true sizes, rows that count, inputs).
      pull: runs its pullback, on (its arguments, their axes, true sizes, rows that count).
      concrete: (true sizes, rows that count), where they are not traced.
    """

    program: Program
    axes: RowAxes
    plain: Callable[[Any, Any, list[Any]], list[Any]]
    pull: Callable[[Batch, RowAxes, Any, Any], list[Any]]
    concrete: tuple[np.ndarray, np.ndarray | None] | None

    def __call__(self, true: Any, present: Any, inputs: list[Any]) -> list[Any]:
        """Runs the program inside a transformation."""
        run = jax.custom_vjp(self.plain)

        def forward(*args: Any) -> Any:
            return run(*args), args

        run.defvjp(forward, self._backward)
        return run(true, present, inputs)

    def _backward(self, args: tuple[Any, Any, list[Any]], cotangents: list[Any]) -> Any:
        true, present, inputs = args
        count = len(self.axes.mapped)
        inexact = _inexact(self.program.jaxpr.invars[:count])
        outputs = _inexact(self.program.jaxpr.outvars)
        grads: list[Any] = [None] * len(inputs)
        if not inexact or not outputs:
            return None, None, grads
        if self.concrete is not None:
            true, present = self.concrete
        batch = self._arguments(inputs[:count], cotangents, outputs, len(true))
        summed = tuple(not self.axes.mapped[k] for k in inexact)
        axes = RowAxes(batch.mapped, summed, self.axes.checked)
        for k, grad in zip(inexact, self.pull(batch, axes, true, present), strict=True):
            fitted = arrays.fit(grad, np.shape(inputs[k]))
            grads[k] = _compat.with_weak_type(jnp.asarray(fitted), jax.typeof(inputs[k]))
        return None, None, grads

    def _arguments(
        self, inputs: list[Any], cotangents: list[Any], outputs: Sequence[int], count: int
    ) -> Batch:
        """The arguments of the pullback."""
        program, axes = self.program, self.axes
        chosen = tuple(cotangents[k] for k in outputs)
        columns = (*inputs, *chosen)
        shapes = (*program.in_shapes[: len(inputs)], *(program.out_shapes[k] for k in outputs))
        names = (*program.in_names[: len(inputs)], *(f"cotangent {k}" for k in outputs))
        mapped = (*axes.mapped, *(not axes.summed[k] for k in outputs))
        sizes = None
        if self.concrete is not None:
            rows = self.concrete[0].tolist()
            sizes = [dict(zip(program.symbols, row, strict=True)) for row in rows]
        return Batch(
            tree=jax.tree.structure((tuple(inputs), chosen)),
            leaves=tuple(
                Leaf(name, _example(column, rows), shape)
                for name, column, shape, rows in zip(names, columns, shapes, mapped, strict=True)
            ),
            mapped=mapped,
            columns=columns,
            count=count,
            sizes=sizes,
        )


def _example(column: Any, mapped: bool) -> jax.ShapeDtypeStruct:
    aval = jax.typeof(column)
    return jax.ShapeDtypeStruct(aval.shape[mapped:], aval.dtype, weak_type=aval.weak_type)


def restacked(results: Sequence[list[Any]], axes: RowAxes, present: np.ndarray | None) -> list[Any]:
    """Outputs of single rows as those of a program over rows would be."""
    kept = np.array([k for k in range(len(results)) if present is None or present[k]])
    out = []
    for column, summed in zip(zip(*results, strict=True), axes.summed, strict=True):
        shape = tuple(np.max([np.shape(y) for y in column], axis=0, initial=0).tolist())
        rows = jnp.asarray(arrays.stack(column, column[0].dtype, shape, len(column)))
        chosen = jnp.take(rows, kept, axis=0)
        out.append(chosen.sum(0) if summed else jnp.zeros_like(rows).at[kept].set(chosen))
    return out
