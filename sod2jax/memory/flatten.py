"""A static jaxpr as a flat program.

Calls are inlined, loops and branches keep their bodies as programs of their own, and contractions
are put in the form that XLA runs, with their operands' copies as steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Jaxpr, JaxprEqn
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.vocabulary import CALLS
from sod2jax.memory.roles import EXPENSIVE, IN_PLACE, REPEATS, ROLES, Role
from sod2jax.memory.steps import FlatProgram, Step, Value


def flatten(jaxpr: Jaxpr) -> FlatProgram:
    """The steps of an open or closed jaxpr with concrete shapes."""
    builder = _Builder()
    builder.arguments = [builder.value(var.aval) for var in jaxpr.invars]
    outputs = builder.inline(jaxpr, builder.arguments)
    return builder.program(outputs)


def _flatten_loop(jaxpr: Jaxpr, consts: int, carries: int) -> FlatProgram:
    """The body of a loop over invars (consts, carries, slices), outvars (carries, slices).

    The stacked arrays live outside: slices are read from and written to them within the loop.
    """
    builder = _Builder()
    builder.arguments = [builder.value(v.aval) for v in jaxpr.invars[: consts + carries]]
    slices = [builder.new("dynamic_slice", var.aval) for var in jaxpr.invars[consts + carries :]]
    results = builder.inline(jaxpr, [*builder.arguments, *slices])
    for result in results[carries:]:
        builder.add(Step("dynamic_update_slice", Role.REDUCE, (result,), (), effectful=True))
    pairs = list(zip(builder.arguments[consts:], results[:carries], strict=True))
    changed = [(before, after) for before, after in pairs if before != after]
    return builder.program(
        [after for _, after in changed],
        carried=tuple(before for before, _ in changed),
        is_loop=True,
    )


def size_of(aval: Any) -> int:
    """Bytes of an abstract value; 0 for tokens."""
    dtype = getattr(aval, "dtype", None)
    return 0 if dtype is None else math.prod(aval.shape) * dtype.itemsize


def total_bytes(jaxpr: Jaxpr) -> int:
    """Bytes of all values together, those of bodies once."""
    return sum(size_of(var.aval) for eqn in equations(jaxpr) for var in eqn.outvars)


class _Builder:
    """Collects values and steps in program order."""

    def __init__(self):
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self.arguments: list[int] = []
        self.transposes: dict[int, tuple[int, tuple[int, ...]]] = {}

    def program(self, outputs: Iterable[int], **loop: Any) -> FlatProgram:
        return FlatProgram(
            tuple(self.steps), tuple(self.values), tuple(self.arguments), tuple(outputs), **loop
        )

    def value(self, aval: Any) -> int:
        self.values.append(Value(tuple(getattr(aval, "shape", ())), size_of(aval)))
        return len(self.values) - 1

    def add(self, step: Step) -> None:
        self.steps.append(step)

    def new(self, name: str, aval: Any) -> int:
        """A value that a kernel makes from nothing in this program."""
        result = self.value(aval)
        self.add(Step(name, Role.REINDEX, (), (result,)))
        return result

    def alias(self, operand: int) -> int:
        self.values.append(self.values[operand])
        result = len(self.values) - 1
        self.add(Step("reshape", Role.ALIAS, (operand,), (result,)))
        return result

    def inline(self, jaxpr: Jaxpr, arguments: Sequence[int]) -> list[int]:
        """Adds the steps of a jaxpr on the given values; returns its outputs."""
        env = dict(zip(jaxpr.invars, arguments, strict=True))
        for var in jaxpr.constvars:
            env[var] = self.value(var.aval)
            self.arguments.append(env[var])
        for eqn in jaxpr.eqns:
            operands = [None if _compat.is_literal(atom) else env[atom] for atom in eqn.invars]
            results = self._equation(eqn, operands)
            env.update(zip(eqn.outvars, results, strict=True))
        return [
            self.new("literal", atom.aval) if _compat.is_literal(atom) else env[atom]
            for atom in jaxpr.outvars
        ]

    def _equation(self, eqn: JaxprEqn, operands: list[int | None]) -> list[int]:
        name = eqn.primitive.name
        if name in CALLS:
            ((_, body),) = _compat.sub_jaxprs(eqn)
            arguments = [
                self.new("literal", atom.aval) if operand is None else operand
                for atom, operand in zip(eqn.invars, operands, strict=True)
            ]
            return self.inline(body, arguments)
        if name == "dot_general":
            operands = self._contracted(eqn, operands)
        results = [self.value(var.aval) for var in eqn.outvars]
        reads = tuple(operand for operand in operands if operand is not None)
        role = self._role(eqn, operands, results)
        in_place, bodies = _sharing(eqn, operands, results)
        self.add(
            Step(
                name,
                role,
                reads,
                tuple(results),
                expensive=_is_expensive(eqn),
                repeats=name in REPEATS,
                effectful=bool(eqn.effects),
                in_place=in_place,
                bodies=bodies,
            )
        )
        if name == "transpose" and reads:
            self.transposes[results[0]] = (reads[0], tuple(eqn.params["permutation"]))
        if name == "dot_general" and _result_is_reshaped(eqn):
            return [self.alias(results[0])]
        return results

    def _role(self, eqn: JaxprEqn, operands: list[int | None], results: list[int]) -> Role:
        role = ROLES.get(eqn.primitive.name, Role.OPAQUE)
        if role is Role.ALIAS:
            return Role.REINDEX if None in operands else Role.ALIAS
        if len(operands) != 1 or len(results) != 1 or operands[0] is None:
            return role
        before, after = self.values[operands[0]], self.values[results[0]]
        return Role.ALIAS if _is_bitcast(eqn, before, after) else role

    def _contracted(self, eqn: JaxprEqn, operands: list[int | None]) -> list[int | None]:
        """Operands of a ``dot_general`` as matrices: transposes folded in, or made as copies."""
        contracting, batch = eqn.params["dimension_numbers"]
        sides = zip(operands, contracting, batch, strict=True)
        return [
            operand if operand is None else self._matrix(operand, side_contracting, side_batch)
            for operand, side_contracting, side_batch in sides
        ]

    def _matrix(self, operand: int, contracting: Sequence[int], batch: Sequence[int]) -> int:
        shape = self.values[operand].shape
        source, permutation = self.transposes.get(operand, (operand, range(len(shape))))
        if _is_matrix(shape, permutation, contracting, batch):
            matrix = source
        elif _is_matrix(shape, range(len(shape)), contracting, batch):
            matrix = operand
        else:
            matrix = self._copy(operand)
        return self.alias(matrix) if _is_reshaped(shape, contracting, batch) else matrix

    def _copy(self, operand: int) -> int:
        self.values.append(self.values[operand])
        result = len(self.values) - 1
        self.add(Step("transpose", Role.REINDEX, (operand,), (result,)))
        return result


def _is_matrix(
    shape: tuple[int, ...],
    permutation: Sequence[int],
    contracting: Sequence[int],
    batch: Sequence[int],
) -> bool:
    """Whether stored axes are (batch, free, contracting) or (batch, contracting, free).

    ``permutation`` maps the operand's axes to the stored ones. Axes of size 1 may stand anywhere.
    """
    free = [axis for axis in range(len(shape)) if axis not in contracting and axis not in batch]

    def in_order(*groups: Sequence[int]) -> bool:
        stored = [permutation[axis] for group in groups for axis in group if shape[axis] > 1]
        return stored == sorted(stored)

    return in_order(batch, free, contracting) or in_order(batch, contracting, free)


def _is_reshaped(shape: tuple[int, ...], contracting: Sequence[int], batch: Sequence[int]) -> bool:
    """Whether XLA merges axes of a contraction's operand, or drops batch axes of size 1."""
    free = len(shape) - len(contracting) - len(batch)
    return max(free, len(contracting)) > 1 or any(shape[axis] == 1 for axis in batch)


def _result_is_reshaped(eqn: JaxprEqn) -> bool:
    """Whether XLA reshapes the result of a contraction to its shape in the jaxpr."""
    contracting, batch = eqn.params["dimension_numbers"]
    sides = zip(eqn.invars, contracting, batch, strict=True)
    return any(
        len(atom.aval.shape) - len(c) - len(b) > 1 or any(atom.aval.shape[axis] == 1 for axis in b)
        for atom, c, b in sides
    )


def _is_expensive(eqn: JaxprEqn) -> bool:
    name = eqn.primitive.name
    if name == "div":
        return not _compat.is_literal(eqn.invars[1])  # by a constant: a multiplication
    return name in EXPENSIVE


def _is_bitcast(eqn: JaxprEqn, before: Value, after: Value) -> bool:
    """Whether an equation on one operand leaves the bytes as they are."""
    name = eqn.primitive.name
    if name == "broadcast_in_dim":
        return before.size == after.size
    if name == "transpose":
        moved = [axis for axis in eqn.params["permutation"] if before.shape[axis] > 1]
        return moved == sorted(moved)
    if name == "convert_element_type":
        return eqn.invars[0].aval.dtype == eqn.params["new_dtype"]
    return name == "bitcast_convert_type" and before.shape == after.shape


def _sharing(
    eqn: JaxprEqn, operands: list[int | None], results: list[int]
) -> tuple[tuple[tuple[int, int], ...], tuple[FlatProgram, ...]]:
    """(operand, result) pairs that an equation can compute in place, and the bodies it runs."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        consts, carries = _compat.scan_counts(eqn)
        body = _flatten_loop(params["jaxpr"], consts, carries)
        return _pairs(operands[consts : consts + carries], results[:carries]), (body,)
    if name == "while":
        consts = params["cond_nconsts"] + params["body_nconsts"]
        body = _flatten_loop(params["body_jaxpr"], params["body_nconsts"], len(results))
        return _pairs(operands[consts:], results), (flatten(params["cond_jaxpr"]), body)
    if name == "sort":
        return _pairs(operands, results), ()
    if name in IN_PLACE:
        return _pairs(operands[IN_PLACE[name] :][:1], results[:1]), ()
    if name in ROLES:
        return (), ()
    return (), tuple(flatten(body) for _, body in _compat.sub_jaxprs(eqn))


def _pairs(operands: Sequence[int | None], results: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple((o, r) for o, r in zip(operands, results, strict=True) if o is not None)
