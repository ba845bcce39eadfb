"""Whether a symbolic program is what a trace at concrete sizes gives.

A symbolic trace takes for granted what it did not see asked. The trace at concrete sizes takes
nothing for granted: where both have one canonical form, the program is right at those sizes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax.ir import dims, trees
from sod2jax.ir.program import Program
from sod2jax.tracing.audit.canonical import Numbering
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
      is_of_results: whether the results differ in number, shape or dtype.
    """

    sizes: tuple[tuple[str, int], ...]
    what: str
    cause: str
    is_of_results: bool = False

    def __str__(self) -> str:
        return f"at {', '.join(f'{n} = {size}' for n, size in self.sizes)}: {self.what}"


def difference(program: Program, concrete: Concrete, sizes: Mapping[str, int]) -> Difference | None:
    """Where a program and a trace of the same function differ; None if they do not."""
    point = tuple(sorted(sizes.items()))
    shapes = [_signature(atom, sizes) for atom in program.results]
    wanted = [_signature(atom, sizes) for atom in concrete.jaxpr.outvars]
    if shapes == wanted and not _alike(program.tree(sizes), concrete.out_tree):
        what = "the structure of the results"
        return Difference(point, what, what, is_of_results=True)
    if shapes != wanted:
        what = f"the results are {_listed(wanted)}, where the program has {_listed(shapes)}"
        return Difference(point, what, "the results", is_of_results=True)
    numbering = Numbering()
    ours = numbering.outputs(program.opened, sizes)[: len(shapes)]
    known = set(numbering.equations)
    theirs = numbering.outputs(concrete.jaxpr, sizes)
    if ours == theirs:
        return None
    lacking = (eqn for number, eqn in numbering.equations.items() if number not in known)
    eqn = next(lacking, None)
    if eqn is None:
        what = "the results are computed from others of the same values"
    else:
        what = f"'{eqn.primitive.name}' at {_compat.source_line(eqn)}"
    return Difference(point, what, what)


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
