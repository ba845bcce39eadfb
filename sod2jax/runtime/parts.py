"""A call whose program measures sizes: each part in the bucket of the sizes found so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom
from sod2jax.buckets.bucket import Bucket
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Decision
from sod2jax.ir.program import Program
from sod2jax.passes.cut import Part
from sod2jax.runtime.compile import Executable
from sod2jax.runtime.dispatch import pad, trim, waste

Lookup = Callable[[Mapping[str, int]], Executable]


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredPlan:
    """The plan of a call whose program measures sizes that depend on values.

    Attributes:
      program: what runs, all of it.
      bucket: where the first part runs.
      sizes: the true sizes that are known before.
      order: for each input of the program, the position of its array among the call's leaves.
      waste: as in ``CallPlan``.
    """

    program: Program
    bucket: Bucket
    sizes: Mapping[str, int]
    order: tuple[int, ...]
    waste: float

    def __call__(
        self, leaves: Sequence[Any], parts: Sequence[tuple[Part, Lookup]], poison: bool
    ) -> Outcome:
        """Runs the parts one after another, each in the bucket of the sizes found so far.

        Args:
          leaves: arrays of the plan's shapes.
          parts: each with what finds the executable for sizes.
          poison: see ``pad``.
        """
        program, sizes = self.program, dict(self.sizes)
        values = dict(zip(program.jaxpr.constvars, _compat.constants(program.jaxpr), strict=True))
        values |= zip(program.jaxpr.invars, (leaves[k] for k in self.order), strict=True)
        found: dict[str, int] = {}
        for part, lookup in parts:
            piece = part.program
            executable = lookup({n: sizes[n] for n in piece.symbols})
            vector = np.array([sizes[n] for n in piece.symbols], np.int32)
            inputs = [
                _fitted(values[var], dims_of(var, sizes), shape, poison)
                for var, shape in zip(part.inputs, executable.in_shapes, strict=True)
            ]
            outputs = executable.call(vector, list(piece.constants), inputs)
            pairs = zip(part.outputs, outputs, strict=False)  # the sizes come after
            values.update((v, x) for v, x in pairs if not _compat.is_literal(v))
            counts = [int(count) for count in outputs[len(part.outputs) :]]
            broken = _learn(piece, counts, sizes, found)
            if broken or not _is_inside(program, sizes):
                return Outcome(None, found, (), False)
            violated = _violated(program, sizes)
            if violated:
                return Outcome(None, found, violated, False)
        out = [
            atom.val if _compat.is_literal(atom) else _cut_to(values[atom], dims_of(atom, sizes))
            for atom in program.results
        ]
        out = [jnp.asarray(x) if not isinstance(x, jax.Array) else x for x in out]
        return Outcome(jax.tree.unflatten(program.out_tree, out), found, (), True)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a run came to.

    Attributes:
      result: the function's result, if the run holds.
      measured: the sizes that it measured, in order.
      violated: the guards that they violate.
      holds: whether everything that the program was traced under turned out true.
    """

    result: Any
    measured: Mapping[str, int]
    violated: tuple[Decision, ...]
    holds: bool


def dims_of(atom: Atom, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The true shape of a value."""
    return tuple(int(dims.evaluate(dims.from_jax(d), sizes)) for d in atom.aval.shape)


def _fitted(array: Any, true: tuple[int, ...], shape: tuple[int, ...], poison: bool) -> Any:
    """An array, at its true shape or padded already, at the shape that an executable takes."""
    if np.shape(array) == shape and not poison:
        return array
    return pad(_cut_to(array, true), shape, poison)


def _cut_to(array: Any, true: tuple[int, ...]) -> Any:
    return array if np.shape(array) == true else trim(array, true)


def _learn(
    piece: Program, counts: Sequence[int], sizes: dict[str, int], found: dict[str, int]
) -> bool:
    """Adds measured sizes to those known; true if one is not what it was taken for."""
    wrong, new = False, piece.data_dependent
    for dim, count in zip(piece.computed_dims, counts, strict=True):
        if not isinstance(dim, int) and str(dim) in new and str(dim) not in sizes:
            sizes[str(dim)] = found[str(dim)] = count
        wrong |= dims.evaluate(dim, sizes) != count
    return wrong


def _violated(program: Program, sizes: Mapping[str, int]) -> tuple[Decision, ...]:
    known = [guard for guard in program.guards if guard.symbols <= sizes.keys()]
    return tuple(guard for guard in known if guard.answer(sizes))


def _is_inside(program: Program, sizes: Mapping[str, int]) -> bool:
    return program.region.restricted(sizes).contains(sizes)


def plan_measured(
    program: Program,
    bucket: Bucket,
    sizes: dict[str, int],
    order: tuple[int, ...],
    shapes: Sequence[Any],
) -> MeasuredPlan:
    """As ``plan_call``, for a program that measures sizes."""
    symbolic = tuple(k for k, s in enumerate(program.in_shapes) if any(map(dims.is_symbolic, s)))
    return MeasuredPlan(program, bucket, sizes, order, waste(program, symbolic, sizes, shapes))
