"""Whether a symbolic program is what a trace at concrete sizes gives.

A symbolic trace takes for granted what it did not see asked. The trace at concrete sizes takes
nothing for granted: where both have one canonical form, the program is right at those sizes.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import JaxprEqn
from sod2jax.errors import TraceError
from sod2jax.ir import dims, trees
from sod2jax.ir.program import Program
from sod2jax.tracing.audit.canonical import canonical
from sod2jax.tracing.audit.numbering import Canonical, Numbering
from sod2jax.tracing.concrete import Concrete
from sod2jax.tracing.generalise.form import token

_SHOWN = 4  # results of a program that a text names


@dataclasses.dataclass(frozen=True)
class Difference:
    """Where a program differs from the trace at given sizes.

    Attributes:
      sizes: of its symbols.
      what: the equation of the trace that the program lacks, with its line; or the results.
      cause: equal where other sizes show the same difference.
      is_final: whether no results could show that there is none: it is in their number, shapes or
        dtypes, or in what the program does besides.
    """

    sizes: tuple[tuple[str, int], ...]
    what: str
    cause: str
    is_final: bool = False

    def __str__(self) -> str:
        return f"at {', '.join(f'{n} = {size}' for n, size in self.sizes)}: {self.what}"


def difference(
    program: Program, concrete: Concrete, sizes: Mapping[str, int], exactly: bool = False
) -> Difference | None:
    """Where a program and a trace of the same function differ; None if they do not.

    Args:
      program: as it was traced.
      concrete: the trace.
      sizes: that it was made at.
      exactly: whether all counts that callbacks close over, texts and objects of their own, too.
    """
    point = tuple(sorted(sizes.items()))
    try:
        numbers = program.numbers_at(sizes)
    except TraceError as error:
        return Difference(point, str(error), "a number of sizes", is_final=True)
    shapes = [_signature(atom, sizes) for atom in program.results]
    wanted = [_signature(atom, sizes) for atom in concrete.jaxpr.outvars]
    if shapes == wanted and not _alike(program.tree(sizes), concrete.out_tree):
        what = "the structure of the results"
        return Difference(point, what, what, is_final=True)
    if shapes != wanted:
        what = f"the results are {_listed(wanted)}, where the program has {_listed(shapes)}"
        return Difference(point, what, "the results", is_final=True)
    numbering = Numbering()
    ours = canonical(numbering, program.opened, sizes, exactly, numbers)
    ours = dataclasses.replace(ours, results=ours.results[: len(shapes)])
    known = set(numbering.equations)
    theirs = canonical(numbering, concrete.jaxpr, sizes, exactly)
    if ours == theirs:
        return None
    if ours.kinds != theirs.kinds:
        what = _effect(numbering, ours, theirs)
        return Difference(point, what, what, is_final=True)
    if ours.results == theirs.results and not exactly:
        return None  # what effects are given may be written in other ways, as in a loop
    lacking = (eqn for number, eqn in numbering.equations.items() if number not in known)
    eqn = next(lacking, None)
    what = "the results are computed from others of the same values" if eqn is None else _at(eqn)
    return Difference(point, what, what)


def _effect(numbering: Numbering, ours: Canonical, theirs: Canonical) -> str:
    """What one of two programs does besides its results, and the other does not."""
    more, less = collections.Counter(theirs.kinds), collections.Counter(ours.kinds)
    kind = next(iter([*(more - less), *(less - more)]), None)
    return "another order of effects" if kind is None else _at(numbering.equations[kind])


def _at(eqn: JaxprEqn) -> str:
    return f"'{eqn.primitive.name}' at {_compat.source_line(eqn)}"


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether two trees are equal, but for which trace made the functions in them."""
    return ours == theirs or trees.with_functions(ours, token) == trees.with_functions(
        theirs, token
    )


def _listed(signatures: Sequence[str]) -> str:
    shown = ", ".join(signatures[:_SHOWN])
    return shown + ", ..." if len(signatures) > _SHOWN else shown or "none"


def _signature(atom: Any, sizes: Mapping[str, int]) -> str:
    aval = atom.aval
    shape = [int(dims.evaluate(dims.from_jax(d), sizes)) for d in aval.shape]
    return f"{aval.dtype}{shape}{' (weak)' if getattr(aval, 'weak_type', False) else ''}"
