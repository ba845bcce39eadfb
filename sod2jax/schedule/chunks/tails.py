"""Rows that nobody sees: behind the true size, where a loop over rows may stop.

A row behind the true size is of no matter where each reader makes a row of its own of it that is of
no matter, or a mask replaces it, or the caller trims it; and to a sum, where it holds what changes
nothing. Rows that were not computed are then left as they are.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import variables
from sod2jax.ir.vocabulary import LAYOUT
from sod2jax.rewrite.fills import folded
from sod2jax.rewrite.monoids import IDENTITY
from sod2jax.rows.reads import Need, Row
from sod2jax.schedule.chunks.islands import rows_of
from sod2jax.schedule.chunks.labels import Labelled
from sod2jax.schedule.chunks.loops import Loop
from sod2jax.schedule.chunks.rules import MONOIDS, Rules
from sod2jax.schedule.masked import LANEWISE


@dataclasses.dataclass(frozen=True)
class TrueSizes:
    """What a static program says of the true sizes of its axes.

    Attributes:
      bucket: the padded size of each symbol whose true size it takes, in an int32 vector, its first
        argument.
      trimmed: of each result, the number of the symbol of each axis; None for others.
    """

    bucket: tuple[int | None, ...] = ()
    trimmed: tuple[tuple[int | None, ...], ...] = ()


NO_SIZES = TrueSizes()
"""Nothing is known, as in bodies."""


def true_sizes(eqns: Sequence[JaxprEqn], jaxpr: Jaxpr, count: int) -> dict[int, Var]:
    """The scalars that hold the true sizes of symbols."""
    if not count:
        return {}
    vector, found, starts = jaxpr.invars[0], dict[int, Var](), dict[Var, int]()
    for eqn in eqns:
        name, (source, *_) = eqn.primitive.name, (*eqn.invars, None)
        if name == "slice" and source is vector and eqn.outvars[0].aval.shape == (1,):
            starts[eqn.outvars[0]] = int(eqn.params["start_indices"][0])
        if name not in ("squeeze", "reshape") or eqn.outvars[0].aval.shape:
            continue
        if source is vector and count == 1:
            found.setdefault(0, eqn.outvars[0])
        elif not _compat.is_literal(source) and source in starts:
            found.setdefault(starts[source], eqn.outvars[0])
    return found


class Tails:
    """Which values' rows behind a true size are of no matter, in a flat program.

    Args:
      program: the program.
      outputs: its results.
      rules: of its rows.
      true: the scalar that holds the true size.
      trimmed: of each result, whether each axis is trimmed to that size.
    """

    def __init__(
        self,
        program: Labelled,
        outputs: Sequence[Atom],
        rules: Rules,
        true: Var,
        trimmed: Sequence[Sequence[bool]],
    ):
        self._program, self._rules, self._true = program, rules, true
        self._makers = {var: eqn for eqn in program.eqns for var in eqn.outvars}
        self._held: dict[tuple[Var, Row], Any] = {}
        self._seen = self._looked_at(outputs, trimmed)

    def left(self, loop: Loop) -> dict[Var, Any] | None:
        """What must stand in rows that a loop does not compute if it stops at the true size.

        Of each output whose rows somebody sees, the number that they hold; None if it may not stop.
        """
        labels = self._program.labels
        seen = [var for var in loop.outputs if (var, labels[var]) in self._seen]
        numbers = {var: self.held(var, labels[var]) for var in seen}
        if None in numbers.values() or not all(map(self._adds_nothing, loop.sums)):
            return None
        return numbers

    def _looked_at(
        self, outputs: Sequence[Atom], trimmed: Sequence[Sequence[bool]]
    ) -> set[tuple[Var, Row]]:
        """The values, and where rows of them may be, whose rows behind the size somebody sees."""
        seen: set[tuple[Var, Row]] = set()
        results: dict[Var, list[Sequence[bool]]] = collections.defaultdict(list)
        for atom, axes in zip(outputs, trimmed, strict=True):
            if not _compat.is_literal(atom):
                results[atom].append(axes)
        readers: dict[Var, list[JaxprEqn]] = collections.defaultdict(list)
        for eqn in self._program.eqns:
            for var in dict.fromkeys(variables(eqn.invars)):
                readers[var].append(eqn)
        for eqn in reversed(self._program.eqns):
            for var in eqn.outvars:
                for row in rows_of(var, self._program.rows):
                    is_trimmed = row.inner == 1 and all(a[row.axis] for a in results[var])
                    hidden = is_trimmed or var not in results
                    if not hidden or not all(self._hides(e, var, row, seen) for e in readers[var]):
                        seen.add((var, row))
        return seen

    def _hides(self, eqn: JaxprEqn, var: Var, row: Row, seen: set[tuple[Var, Row]]) -> bool:
        """Whether nobody sees through a reader what rows behind the size hold."""
        reads = [k for k, atom in enumerate(eqn.invars) if atom is var]
        if eqn.primitive.name == "select_n" and reads == [2] and self._masks(eqn.invars[0], row):
            return True
        for out_row in rows_of(eqn.outvars[0], self._program.rows) if eqn.outvars else ():
            needs = self._rules.needs(eqn, self._program.rows, out_row)
            if not needs or any(needs[k] != row for k in reads):
                continue
            if all((out, out_row) not in seen for out in eqn.outvars):
                return True
        return False

    def _masks(self, which: Atom, row: Row) -> bool:
        """Whether a predicate is false in all rows behind the size."""
        eqn = None if _compat.is_literal(which) else self._makers.get(which)
        if eqn is None or row.inner != 1:
            return False
        if eqn.primitive.name == "and":
            return any(self._masks(atom, row) for atom in eqn.invars)
        if eqn.primitive.name == "broadcast_in_dim":
            places = tuple(eqn.params["broadcast_dimensions"])
            if row.axis not in places:
                return False
            at = places.index(row.axis)
            is_stretched = eqn.invars[0].aval.shape[at] != which.aval.shape[row.axis]
            return not is_stretched and self._masks(eqn.invars[0], Row(at))
        return eqn.primitive.name == "lt" and self._is_below(eqn, row)

    def _is_below(self, eqn: JaxprEqn, row: Row) -> bool:
        lanes, number = (self._maker(atom) for atom in eqn.invars)
        if lanes is None or lanes.primitive.name != "iota":
            return False
        if lanes.params["dimension"] != row.axis:
            return False
        if number is not None and number.primitive.name == "broadcast_in_dim":
            return number.invars[0] is self._true
        return eqn.invars[1] is self._true

    def _maker(self, atom: Atom) -> JaxprEqn | None:
        return None if _compat.is_literal(atom) else self._makers.get(atom)

    def _adds_nothing(self, eqn: JaxprEqn) -> bool:
        """Whether rows behind the size change nothing of a sum."""
        monoid, dtype = MONOIDS[eqn.primitive.name], eqn.outvars[0].aval.dtype
        needs = self._program.reads[id(eqn)]
        pairs = zip(eqn.invars, needs, strict=True)
        held = [self.held(atom, need) for atom, need in pairs if isinstance(need, Row)]
        if eqn.primitive.name == "scatter-add":
            held = held[-1:]  # the updates
        # A product of zero and what pad lanes hold is zero: the program relied on it.
        return any(number is not None and number == IDENTITY[monoid](dtype) for number in held)

    def held(self, atom: Atom, need: Need) -> Any:
        """What a value holds in all rows behind the size; None if that is not known."""
        if _compat.is_literal(atom):
            return None if atom.aval.shape else _compat.literal_array(atom).item()
        if not isinstance(need, Row):
            return self._constant(atom)
        if (atom, need) not in self._held:
            self._held[atom, need] = self._behind(atom, need)
        return self._held[atom, need]

    def _constant(self, atom: Atom) -> Any:
        """The number that a value holds everywhere; None if it is not known."""
        if _compat.is_literal(atom):
            return _compat.literal_array(atom).item()
        eqn = self._makers.get(atom)
        name = "" if eqn is None else eqn.primitive.name
        if eqn is not None and name == "broadcast_in_dim":
            return self._constant(eqn.invars[0])
        if eqn is None or name not in LANEWISE:
            return None
        numbers = list(map(self._constant, eqn.invars))
        return None if None in numbers else folded(name, numbers, eqn.outvars[0].aval.dtype)

    def _behind(self, var: Var, row: Row) -> Any:
        eqn = self._makers.get(var)
        if eqn is None:
            return None
        name = eqn.primitive.name
        if name == "select_n" and len(eqn.invars) == 3 and self._masks(eqn.invars[0], row):
            return self.held(eqn.invars[1], row)
        needs = self._rules.needs(eqn, self._program.rows, row)
        if needs is None or len(needs) != len(eqn.invars):
            return self._constant(var)
        if name in LAYOUT - {"rev"}:
            return self.held(eqn.invars[0], needs[0])
        numbers = [self.held(a, n) for a, n in zip(eqn.invars, needs, strict=True)]
        if name in LANEWISE and None not in numbers:
            return folded(name, numbers, eqn.outvars[0].aval.dtype)
        return 0 if _is_zero(name, numbers) else None


def _is_zero(name: str, numbers: Sequence[Any]) -> bool:
    """Whether rows are zeros where operands hold these numbers in them; None where nobody knows.

    What zeros are multiplied by is finite: the padded program relies on that in all its lanes.
    """
    zeros = [number == 0 and number is not None for number in numbers]
    if name in ("mul", "dot_general"):
        return any(zeros)
    if name == "select_n":
        return all(zeros[1:])
    return name in ("div", "reduce_sum") and zeros[0]


def stopping(
    program: Labelled,
    outputs: Sequence[Atom],
    rules: Rules,
    sizes: TrueSizes,
    scalars: Mapping[int, Var],
) -> list[tuple[Var, Tails]]:
    """For each symbol whose axes may be the rows: its true size, and what is known of it."""
    return [
        (
            scalars[k],
            Tails(
                program,
                outputs,
                rules,
                scalars[k],
                [[at == k for at in axes] for axes in sizes.trimmed],
            ),
        )
        for k, size in enumerate(sizes.bucket)
        if size == program.rows and k in scalars
    ]
