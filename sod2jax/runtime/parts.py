"""A call whose program computes sizes: each part in the bucket of the sizes known by then."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, Var
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import TraceError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import violated
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.program import Program
from sod2jax.runtime import plan
from sod2jax.runtime.executables import Executables
from sod2jax.runtime.plan import ANYWHERE, Landing, Outcome
from sod2jax.transfer import owned, pad, trim


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PartedPlan:
    """The plan of a call whose program computes data-dependent sizes.

    Attributes:
      program: what runs, all of it.
      parts: the compiled buckets of each part, in order.
      bucket: where the first part runs.
      sizes: the true sizes that are known before.
      order: for each input of the program, the position of its array among the call's leaves.
      constants: the inputs beyond the call's own; None for those that need computed sizes.
      elements: (true, padded) ones of the symbolic inputs of the first part.
      landing: where its results are to lie.
    """

    program: Program
    parts: tuple[Executables, ...]
    bucket: Bucket
    sizes: Mapping[str, int]
    order: tuple[int, ...]
    constants: tuple[Any, ...]
    elements: tuple[int, int]
    landing: Landing = ANYWHERE

    def run(self, leaves: Sequence[Any], poison: bool, foreign: bool = False) -> Outcome:
        """Runs the parts one after another, until one computes a size that the trace excluded.

        See ``Plan.run``. Outputs of parts keep their padding, which holds anything.
        """
        program, sizes = self.program, dict(self.sizes)
        values = dict(zip(program.jaxpr.constvars, _compat.constants(program.jaxpr), strict=True))
        own = [*(owned(leaves[k]) for k in self.order), *self.constants]
        values |= zip(program.jaxpr.invars, own, strict=True)
        computed: dict[str, int] = {}
        later = {v: x for v, x in program.numbers_by_variable.items() if values[v] is None}
        for part in self.parts:
            if not _compute(later, values, sizes):
                return Outcome(self.bucket, self.elements, sizes=computed, holds=False)
            executables = part.foreign if foreign else part
            piece = executables.part.program
            counts = _run_part(executables, values, sizes, poison)
            is_wrong = _learn(piece, counts, sizes, computed)
            if is_wrong or not program.region.restricted(sizes).contains(sizes):
                return Outcome(self.bucket, self.elements, sizes=computed, holds=False)
            guards = violated(program.guards, sizes)
            if guards:
                return Outcome(self.bucket, self.elements, None, computed, guards, holds=False)
        results = [_result(atom, values, sizes) for atom in program.results]
        landed = self.landing.trimmed(results, [y.shape for y in results])
        result = jax.tree.unflatten(program.tree(sizes), landed)
        return Outcome(self.bucket, self.elements, result, computed)

    def __repr__(self) -> str:
        return plan.described("PartedPlan", self.program, self.sizes, self.bucket)


def _compute(numbers: dict[Var, Any], values: dict[Var, Any], sizes: Mapping[str, int]) -> bool:
    """Adds what the host computes of sizes, as far as these are known; false where it fails."""
    try:
        known = {v: x.at(sizes) for v, x in numbers.items() if x.symbols <= sizes.keys()}
    except TraceError:
        return False
    values.update(known)
    for var in known:
        del numbers[var]
    return True


def _run_part(
    executables: Executables, values: dict[Var, Any], sizes: Mapping[str, int], poison: bool
) -> list[int]:
    """Adds a part's outputs to the values; returns the sizes that it computes."""
    part, piece = executables.part, executables.part.program
    executable = executables.at({name: sizes[name] for name in piece.symbols})
    vector = np.array([sizes[name] for name in piece.symbols], np.int32)
    inputs = [
        _fitted(
            values[var], _true_shape(var, sizes), shape, poison and not executable.wants_zeros(k)
        )
        for k, (var, shape) in enumerate(zip(part.inputs, executable.in_shapes, strict=True))
    ]
    outputs = executable.run(vector, piece.constants, inputs)
    own, counts = outputs[: len(part.outputs)], outputs[len(part.outputs) :]
    pairs = zip(part.outputs, own, strict=True)
    values.update((v, x) for v, x in pairs if not _compat.is_literal(v))
    return [int(count) for count in counts]


def _true_shape(atom: Atom, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(int(dims.evaluate(d, sizes)) for d in dims_of(atom))


def _fitted(array: Any, true: tuple[int, ...], shape: tuple[int, ...], poison: bool) -> Any:
    """An array, at its true shape or padded already, at the shape that an executable takes."""
    if np.shape(array) == shape and not poison:
        return array
    return pad(_cut_to(array, true), shape, poison)


def _cut_to(array: Any, true: tuple[int, ...]) -> Any:
    return array if np.shape(array) == true else trim(array, true)


def _result(atom: Atom, values: Mapping[Var, Any], sizes: Mapping[str, int]) -> jax.Array:
    if _compat.is_literal(atom):
        return jnp.asarray(atom.val)
    array = _cut_to(values[atom], _true_shape(atom, sizes))
    return array if isinstance(array, jax.Array) else jnp.asarray(array)


def _learn(
    piece: Program, counts: Sequence[int], sizes: dict[str, int], computed: dict[str, int]
) -> bool:
    """Adds sizes that a part computed; true if one is not what it was taken for."""
    is_wrong, new = False, piece.data_dependent
    for dim, count in zip(piece.computed_dims, counts, strict=True):
        if not isinstance(dim, int) and str(dim) in new and str(dim) not in sizes:
            sizes[str(dim)] = computed[str(dim)] = count
        is_wrong |= dims.evaluate(dim, sizes) != count
    return is_wrong


def plan_parts(
    program: Program,
    parts: tuple[Executables, ...],
    bucket: Bucket,
    sizes: Mapping[str, int],
    order: tuple[int, ...],
    shapes: Sequence[tuple[int, ...]],
    constants: tuple[Any, ...],
    landing: Landing = ANYWHERE,
) -> PartedPlan:
    """As ``dispatch.plan_whole``, for a program that computes sizes."""
    elements = plan.elements(program, sizes, shapes)
    return PartedPlan(program, parts, bucket, dict(sizes), order, constants, elements, landing)
