"""Cuts a program where it has computed a size: what follows is dispatched by that size.

The other way to run such a program is one executable, padded to the largest size that there can be,
in which the true size is a number computed on the way. Cutting costs a second dispatch and a wait
for the number; it saves what the padding would cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from sod2jax import _compat, cost, rdp
from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.buckets.choose import extended
from sod2jax.buckets.ladders import Ladders
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.jaxprs import mentions, used_in, variables
from sod2jax.ir.primitives import made_by, value_as_dim_p
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.passes.remark import Remark
from sod2jax.target import Target

SECONDS = 2e-4
"""What a cut costs a call on a CPU: a second dispatch, and the wait for the size."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Part:
    """A piece of a program, between two cuts, and what is known of it; all of it if it is not cut.

    Attributes:
      program: the piece; its outputs are ``outputs`` and then the sizes that it computes.
      inputs: the variables of the whole program that it reads.
      outputs: the variables that later parts, or the caller, read.
      own: which of the inputs are the caller's, so that the dispatcher pads them; the others are
        outputs of earlier parts, with anything in their pad lanes.
      facts: what Rank and Dimension Propagation says of it.
      ladders: the sizes that its buckets are made of.
    """

    program: Program
    inputs: tuple[Var, ...]
    outputs: tuple[Atom, ...]
    own: tuple[bool, ...]
    facts: rdp.Facts
    ladders: Ladders

    def __repr__(self) -> str:
        return f"Part({self.program!r})"


def cut(
    program: Program,
    facts: rdp.Facts,
    ladders: Ladders,
    names: Iterable[str],
    max_executables: int,
) -> tuple[Part, ...]:
    """Cuts a program after it has computed the symbols ``names``, those at one depth together.

    A symbol that is not among them stays a number computed within its part.

    Args:
      program: what to cut.
      facts: what is known of it.
      ladders: the sizes of the symbols known before.
      names: data-dependent symbols.
      max_executables: as for ``buckets.choose.extended``.
    """
    levels = _levels(program, frozenset(names))
    count = max(levels.eqns, default=0) + 1
    if count == 1:
        inputs = tuple(program.jaxpr.invars)
        return (Part(program, inputs, program.results, (True,) * len(inputs), facts, ladders),)
    given = frozenset(program.jaxpr.invars)
    parts = []
    for number in range(count):
        piece, inputs, outputs = _piece(program, levels, number)
        ladders = extended(ladders, piece.region.restricted(piece.symbols), max_executables)
        own = tuple(var in given for var in inputs)
        parts.append(Part(piece, inputs, outputs, own, rdp.analyse_program(piece), ladders))
    return tuple(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class _Levels:
    """The number of cuts before each equation, and before each symbol is known."""

    eqns: list[int]
    symbols: dict[str, int]


def _levels(program: Program, names: frozenset[str]) -> _Levels:
    of_symbol = dict.fromkeys(program.symbols, 0)
    of_var: dict[Var, int] = {}
    of_eqn = []
    numbers = program.numbers_by_variable
    for eqn in program.jaxpr.eqns:
        read = variables(eqn.invars)
        operands = [of_var.get(var, 0) for var in read]
        operands += [of_symbol[n] for v in read if v in numbers for n in numbers[v].symbols]
        made = made_by(eqn)
        mentioned = [of_symbol[n] for n in mentions(eqn) if n != made]
        level = max([*operands, *mentioned], default=0)
        if made is not None:
            of_symbol[made] = level + (made in names)
        of_eqn.append(level)
        of_var.update(dict.fromkeys(eqn.outvars, level))
    return _Levels(of_eqn, of_symbol)


def _piece(
    program: Program, levels: _Levels, number: int
) -> tuple[Program, tuple[Var, ...], tuple[Atom, ...]]:
    """The program between two cuts, what it reads of the whole, and what is read of it."""
    jaxpr = program.jaxpr
    placed = list(zip(jaxpr.eqns, levels.eqns, strict=True))
    mine = _with_wide(placed, number)
    later = [eqn for k in sorted(set(levels.eqns)) if k > number for eqn in _with_wide(placed, k)]
    made = [var for eqn in mine for var in eqn.outvars]
    wanted = used_in(later, program.results)
    constvars = frozenset(jaxpr.constvars)
    read = used_in(mine, ())
    inputs = tuple(v for v in read if v not in frozenset(made) and v not in constvars)
    outputs = tuple(v for v in made if v in wanted and not _is_wide(v))
    sizes = [eqn for eqn in mine if eqn.primitive is value_as_dim_p]
    dimensions: list[Dim] = [dims.from_jax(eqn.params["dim"]) for eqn in sizes]
    inside = {name for eqn in sizes if (name := made_by(eqn)) is not None}
    # A part has no buckets for the sizes of symbols that it does not speak of.
    names = inside.union(*map(mentions, mine))
    values = dict(zip(jaxpr.constvars, _compat.constants(jaxpr), strict=True))
    used = [v for v in read if v in constvars]
    closed = _compat.with_constants(
        _compat.closed_jaxpr(
            inputs, [*outputs, *(eqn.outvars[0] for eqn in sizes)], mine, like=jaxpr
        ),
        used,
        [values[v] for v in used],
    )
    piece = program.with_jaxpr(
        closed,
        name=f"{program.name}_part_{number}",
        region=program.region.restricted(names),
        guards=(),
        computed_dims=tuple(dimensions),
        data_dependent=frozenset(inside),
        numbers=(),
    )
    return piece, inputs, outputs


def _with_wide(placed: Sequence[tuple[JaxprEqn, int]], number: int) -> list[JaxprEqn]:
    """The equations of a part, and again those before that make 64-bit values for it.

    Where 64 bits are disabled, such values, made of sizes, cannot leave an executable.
    """
    kept, read = [], set()
    for eqn, level in reversed(placed):
        again = level < number and not read.isdisjoint(filter(_is_wide, eqn.outvars))
        if level == number or again:
            kept.append(eqn)
            read.update(variables(eqn.invars))
    return kept[::-1]


def _is_wide(var: Var) -> bool:
    dtype = var.aval.dtype
    return isinstance(dtype, np.dtype) and jax.dtypes.canonicalize_dtype(dtype) != dtype


def places(
    program: Program, ladders: Ladders, mode: str, max_executables: int, target: Target
) -> tuple[frozenset[str], tuple[Remark, ...]]:
    """The data-dependent symbols to cut a program at, and why.

    Args:
      program: what computes them.
      ladders: the sizes of the symbols known before.
      mode: "always", "never" or "auto"; symbols without an upper bound are cut at in any case, and
        those of which the host computes numbers.
      max_executables: as for ``buckets.choose.extended``.
      target: what is compiled for.
    """
    if not program.data_dependent:
        return frozenset(), ()
    wanted = frozenset(name for number in program.numbers for name in number.symbols)
    unbounded = frozenset(n for n in program.data_dependent if not _is_bounded(program, n))
    unbounded |= wanted & program.data_dependent
    if mode == "always":
        return program.data_dependent, _remarks(
            program, program.data_dependent, 'as cut="always" asks'
        )
    if mode == "never" or unbounded == program.data_dependent:
        return unbounded, _remarks(program, unbounded, 'as cut="never" asks')
    saved = _saving(program, ladders, max_executables, target)
    numbers = f"a cut costs {SECONDS:.0e} s and saves about {saved:.0e} s of padding"
    cuts = program.data_dependent if saved > SECONDS else unbounded
    return cuts, _remarks(program, cuts, numbers)


def _remarks(program: Program, cuts: frozenset[str], reason: str) -> tuple[Remark, ...]:
    remarks, wanted = [], {name for number in program.numbers for name in number.symbols}
    for eqn in program.jaxpr.eqns:
        name = made_by(eqn)
        if name is None:
            continue
        why = reason if _is_bounded(program, name) else "it has no upper bound"
        why = "the host computes a number of it" if name in wanted else why
        done = f"cut where the size {name} is known" if name in cuts else f"carried the size {name}"
        remarks.append(Remark(done, _compat.source_line(eqn), why))
    return tuple(remarks)


def _saving(program: Program, ladders: Ladders, max_executables: int, target: Target) -> float:
    """Seconds that a call saves, with all cuts, at the largest sizes that are known before.

    Data-dependent sizes count as evenly spread up to their bounds.
    """
    levels = _levels(program, program.data_dependent)
    later = [e for e, n in zip(program.jaxpr.eqns, levels.eqns, strict=True) if n > 0]
    made = {var for eqn in later for var in eqn.outvars}
    inputs = used_in(later, ()).keys() - made
    work = cost.Counter().equations(later, inputs, program.jaxpr.outvars)
    usual = target.usual_sizes(program.region)
    before = {n: usual[n] for n in program.symbols}
    region = program.region.below(before)
    most = {n: region.range(n)[1] or 1 for n in program.data_dependent}
    spread = Region(tuple((n, 1, max(1, hi)) for n, hi in sorted(most.items())))
    rungs = dict(extended(ladders, spread, max_executables).sizes)
    spent = []
    for share in (0.125, 0.375, 0.625, 0.875):
        padded = {n: _rung(rungs[n] or (most[n],), share * most[n]) for n in most}
        spent.append(work.at({**before, **padded}).seconds(target))
    return work.at({**before, **most}).seconds(target) - sum(spent) / len(spent)


def _rung(ladder: tuple[int, ...], size: float) -> int:
    return next((rung for rung in ladder if rung >= size), ladder[-1])


def _is_bounded(program: Program, name: str) -> bool:
    """Whether the sizes known before bound a data-dependent one."""
    sizes = {n: program.region.range(n)[1] or 1 for n in program.symbols}
    return program.region.below(sizes).range(name)[1] is not None
