"""A loop as equations: blocks of rows are cut out of arrays, and written into others in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.surgery import Copier
from sod2jax.rewrite.monoids import IDENTITY, OPERATORS
from sod2jax.rows.narrow import aval_of, equation_of_block
from sod2jax.rows.reads import Mixed, Need, Row
from sod2jax.schedule.chunks.labels import Labelled
from sod2jax.schedule.chunks.loops import Loop
from sod2jax.schedule.chunks.rules import MONOIDS, is_position

Whole = tuple[Var, tuple[int, ...] | None]


class Refused(Exception):
    """An equation that cannot be run on a block of rows after all.

    Attributes:
      eqn: it.
    """

    def __init__(self, eqn: JaxprEqn, why: str):
        super().__init__(why)
        self.eqn = eqn


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """What a loop does with one block of rows.

    Attributes:
      jaxpr: takes the first row's number, the rows that it reads, what it reads whole, and the sums
        so far that it adds to itself; gives the rows that it writes, and what is summed up.
      rows: the arrays that it reads by rows, and where these are.
      wholes: what it reads whole, and in which order of axes; None for that which it has.
      sums: its equations that sum over rows.
      added: those of the sums that take the sum so far as an operand.
      outputs: what it writes, and where the rows are.
    """

    jaxpr: Jaxpr
    rows: tuple[tuple[Var, Row], ...]
    wholes: tuple[Whole, ...]
    sums: tuple[JaxprEqn, ...]
    added: tuple[JaxprEqn, ...]
    outputs: tuple[tuple[Var, Row], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Stop:
    """Where a loop may stop.

    Attributes:
      rows: how many rows are needed, a scalar.
      left: of outputs whose other rows are seen, what these hold.
    """

    rows: Var
    left: Mapping[Var, Any]


def body_of(program: Labelled, loop: Loop, block: int, like: Jaxpr) -> Body:
    """The body of a loop for so many rows at a time.

    Raises:
      Refused: an equation has no such form.
    """
    builder = _Builder(program, loop, block)
    for eqn in loop.eqns:
        try:
            builder.add(eqn)
        except Mixed as error:
            raise Refused(eqn, str(error)) from error
    return builder.body(like)


class _Builder:
    def __init__(self, program: Labelled, loop: Loop, block: int):
        self._program, self._loop, self._block = program, loop, block
        self._made: dict[Var, Var] = {}
        self._rows: dict[tuple[Var, Row], Var] = {}
        self._wholes: dict[Whole, Var] = {}
        self._partial: dict[int, Var] = {}
        self._added: dict[int, tuple[JaxprEqn, Var]] = {}
        self._eqns: list[JaxprEqn] = []
        self._start = _compat.new_variable(jax.typeof(np.int32(0)))
        self._copier = Copier()

    def add(self, eqn: JaxprEqn) -> None:
        """Adds an equation on a block of its rows."""
        program, block = self._program, self._block
        is_sum = id(eqn) in program.sums
        outs: list[Need] = [None if is_sum else program.labels[var] for var in eqn.outvars]
        if not is_sum and is_position(eqn, program.labels[eqn.outvars[0]]):
            self._number(eqn, program.labels[eqn.outvars[0]])
            return
        needs = program.reads[id(eqn)]
        turned = eqn
        if eqn.primitive.name == "dot_general":
            turned, invars = self._turned(eqn, needs)
        else:
            invars = list(map(self._read, eqn.invars, needs))
        if is_sum and eqn.primitive.name == "scatter-add":
            invars[0] = _compat.new_variable(eqn.outvars[0].aval)
            self._added[id(eqn)] = (eqn, invars[0])
        new = equation_of_block(turned, invars, program.rows, block, outs, needs)
        self._eqns.append(new)
        if is_sum:
            self._partial[id(eqn)] = new.outvars[0]
        else:
            self._made.update(zip(eqn.outvars, new.outvars, strict=True))

    def _read(self, atom: Atom, need: Need) -> Atom:
        if _compat.is_literal(atom):
            return atom
        if atom in self._made and self._program.is_aligned(atom, need):
            return self._made[atom]
        if not isinstance(need, Row):
            return self._whole(atom, None)
        if (atom, need) not in self._rows:
            aval = aval_of(atom.aval, need, self._block)
            self._rows[atom, need] = _compat.new_variable(aval)
        return self._rows[atom, need]

    def _whole(self, var: Var, order: tuple[int, ...] | None) -> Var:
        if (var, order) not in self._wholes:
            shape = tuple(var.aval.shape[k] for k in order or range(len(var.aval.shape)))
            self._wholes[var, order] = _compat.new_variable(var.aval.update(shape=shape))
        return self._wholes[var, order]

    def _turned(self, eqn: JaxprEqn, needs: Sequence[Need]) -> tuple[JaxprEqn, list[Atom]]:
        """A product whose whole operands have their axes as it runs fastest, turned once."""
        contracted, batch = (list(map(tuple, pair)) for pair in eqn.params["dimension_numbers"])
        invars: list[Atom] = []
        for k, (atom, need) in enumerate(zip(eqn.invars, needs, strict=True)):
            if _compat.is_literal(atom) or isinstance(need, Row) or not batch[k]:
                invars.append(self._read(atom, need))
                continue
            rank, first = len(atom.aval.shape), (*batch[k], *contracted[k])
            order = (*first, *(axis for axis in range(rank) if axis not in first))
            is_as_it_was = order == tuple(range(rank))
            invars.append(self._whole(atom, None if is_as_it_was else order))
            if not is_as_it_was:
                batch[k] = tuple(range(len(batch[k])))
                contracted[k] = tuple(range(len(batch[k]), len(first)))
        numbers = (tuple(contracted), tuple(batch))
        return eqn.replace(params={**eqn.params, "dimension_numbers": numbers}), invars

    def _number(self, eqn: JaxprEqn, row: Row) -> None:
        aval = aval_of(eqn.outvars[0].aval, row, self._block)

        def numbers(start: jax.Array) -> jax.Array:
            first = lax.convert_element_type(start * np.int32(row.inner), aval.dtype)
            return lax.broadcasted_iota(aval.dtype, aval.shape, row.axis) + lax.full(
                aval.shape, first
            )

        traced = jax.make_jaxpr(numbers)(jax.ShapeDtypeStruct((), np.int32))
        eqns, (out,) = self._copier.body(traced, [self._start], eqn)
        self._eqns += eqns
        self._made[eqn.outvars[0]] = out

    def body(self, like: Jaxpr) -> Body:
        """All of it."""
        sums, labels = self._loop.sums, self._program.labels
        added = [self._added[id(eqn)] for eqn in sums if id(eqn) in self._added]
        invars = [
            self._start,
            *self._rows.values(),
            *self._wholes.values(),
            *(var for _, var in added),
        ]
        outs = [*(self._made[v] for v in self._loop.outputs), *(self._partial[id(e)] for e in sums)]
        return Body(
            _compat.closed_jaxpr(invars, outs, self._eqns, like),
            tuple(self._rows),
            tuple(self._wholes),
            sums,
            tuple(eqn for eqn, _ in added),
            tuple((var, labels[var]) for var in self._loop.outputs),
        )


def emitted(
    rows: int,
    block: int,
    body: Body,
    rest: Body | None,
    starts: Sequence[Var | None],
    stop: Stop | None,
    copier: Copier,
) -> tuple[list[JaxprEqn], list[Atom]]:
    """The equations of a loop; and its outputs: what it writes, then its sums.

    Args:
      rows: how many there are.
      block: how many are run at once.
      body: for a block.
      rest: for the rows that are left behind the last whole block; None if there are none.
      starts: of each output, the array that it is written over: see ``initial``.
      stop: where it may stop; None if all rows are needed.
      copier: makes variables.
    """
    arrays = dict.fromkeys(var for var, _ in (*body.rows, *body.wholes))
    arrays |= dict.fromkeys(eqn.invars[0] for eqn in body.added)
    arrays |= dict.fromkeys(var for var in starts if var is not None)
    arrays |= {stop.rows: None} if stop else {}
    given = [atom for atom in arrays if not _compat.is_literal(atom)]

    def run(*values: Any) -> list[Any]:
        env: dict[Any, Any] = dict(zip(given, values, strict=True))
        return _run(rows, block, body, rest, starts, stop, env)

    specs = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in given]
    traced = jax.make_jaxpr(run)(*specs)
    like = (*body.sums, *body.jaxpr.eqns)[0]
    return copier.body(traced, given, like)


def initial(
    body: Body, dying: Collection[Var], spare: Sequence[Var], stop: Stop | None
) -> list[Var | None]:
    """Of each output of a loop, the array that it is written over; None for one that is filled.

    Args:
      body: of the loop.
      dying: what nothing reads any more after the loop, and nothing has whole in it.
      spare: arrays that nothing reads from here on.
      stop: where the loop may stop: what it leaves in rows that are seen is filled in first.
    """
    left = stop.left if stop is not None else {}
    inputs = dict.fromkeys(var for var, row in body.rows if var in dying)
    wheres = dict(body.rows)
    unused = list(spare)
    starts: list[Var | None] = []
    for var, row in body.outputs:
        if var in left:
            starts.append(None)
            continue
        found = next((v for v in inputs if _alike(v, var) and wheres[v] == row), None)
        if found is not None:
            del inputs[found]
        else:
            found = next((v for v in unused if _alike(v, var)), None)
            if found is not None:
                unused.remove(found)
        starts.append(found)
    return starts


def _alike(a: Var, b: Var) -> bool:
    return (a.aval.shape, a.aval.dtype) == (b.aval.shape, b.aval.dtype)


def _run(
    rows: int,
    block: int,
    body: Body,
    rest: Body | None,
    starts: Sequence[Var | None],
    stop: Stop | None,
    env: Mapping[Any, Any],
) -> list[Any]:
    added = {id(eqn): k for k, eqn in enumerate(body.added)}
    left = stop.left if stop is not None else {}
    place = {var: k for k, var in enumerate(starts) if var is not None}
    arrays = [
        lax.full(var.aval.shape, left.get(var, 0), var.aval.dtype) if start is None else env[start]
        for (var, _), start in zip(body.outputs, starts, strict=True)
    ]
    totals = [_first(eqn, env) for eqn in body.sums]
    turned = {
        (var, order): env[var] if order is None else lax.transpose(env[var], order)
        for var, order in body.wholes
    }

    def step(one: Body, start: Any, carry: tuple[list[Any], list[Any]]) -> Any:
        arrays, totals = carry

        def source(var: Var, row: Row) -> Any:
            is_carried = var in place and body.outputs[place[var]][1] == row
            return arrays[place[var]] if is_carried else env[var]

        size = block if one is body else rows % block
        blocks = [_cut(source(var, row), row, start, size) for var, row in one.rows]
        sums = [t for eqn, t in zip(one.sums, totals, strict=True) if id(eqn) in added]
        wholes = [turned[whole] for whole in one.wholes]
        outs = _compat.function_of(one.jaxpr)(start, *blocks, *wholes, *sums)
        written = [
            _put(array, new, row, start)
            for array, new, (_, row) in zip(arrays, outs, one.outputs, strict=False)
        ]
        combined = [
            new if id(eqn) in added else OPERATORS[MONOIDS[eqn.primitive.name]](old, new)
            for eqn, old, new in zip(one.sums, totals, outs[len(written) :], strict=True)
        ]
        return written, combined

    def one_block(number: Any, carry: Any) -> Any:
        return step(body, number * np.int32(block), carry)

    count = rows // block
    steps = np.int32(count)
    if stop is not None:
        steps = lax.min(steps, lax.div(env[stop.rows] + np.int32(block - 1), np.int32(block)))
    carry = lax.fori_loop(np.int32(0), steps, one_block, (arrays, totals))
    if rest is not None:
        carry = step(rest, np.int32(count * block), carry)
    return [*carry[0], *carry[1]]


def _first(eqn: JaxprEqn, env: Mapping[Any, Any]) -> Any:
    """What a sum begins with."""
    aval = eqn.outvars[0].aval
    if eqn.primitive.name != "scatter-add":
        return lax.full(aval.shape, IDENTITY[MONOIDS[eqn.primitive.name]](aval.dtype), aval.dtype)
    operand = eqn.invars[0]
    return _compat.literal_array(operand) if _compat.is_literal(operand) else env[operand]


def _cut(array: Any, row: Row, start: Any, size: int) -> Any:
    at = start * np.int32(row.inner)
    return lax.dynamic_slice_in_dim(
        array, at, size * int(row.inner), row.axis, allow_negative_indices=False
    )


def _put(array: Any, new: Any, row: Row, start: Any) -> Any:
    at = start * np.int32(row.inner)
    return lax.dynamic_update_slice_in_dim(array, new, at, row.axis, allow_negative_indices=False)
