"""Which values are computed by rows: large ones, and what follows from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from sod2jax._compat import JaxprEqn, Var
from sod2jax.ir.jaxprs import variables
from sod2jax.memory.flatten import size_of
from sod2jax.rows.reads import Need, Row
from sod2jax.schedule.chunks.islands import rows_of
from sod2jax.schedule.chunks.rules import Rules, accumulated, with_needs


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """A flat program, and what of it is computed by rows.

    Attributes:
      eqns: the program.
      rows: how many.
      labels: of each value that is computed by rows, where they are.
      reads: of each equation that is run by rows, what of each operand a row of it needs.
      sums: those among them that sum over the rows.
    """

    eqns: tuple[JaxprEqn, ...]
    rows: int
    labels: Mapping[Var, Row]
    reads: Mapping[int, Sequence[Need]]
    sums: Collection[int]

    def is_by_rows(self, eqn: JaxprEqn) -> bool:
        """Whether an equation is run by rows."""
        return id(eqn) in self.reads

    def operands(self, eqn: JaxprEqn) -> list[tuple[Var, Need]]:
        """The operands that are no literals, and what is read of each."""
        return with_needs(eqn, self.reads.get(id(eqn)) or [None] * len(eqn.invars))

    def is_aligned(self, var: Var, need: Need) -> bool:
        """Whether what is read of a value are the rows that it is computed by."""
        return isinstance(need, Row) and self.labels.get(var) == need


def labelled(
    eqns: Sequence[JaxprEqn],
    rows: int,
    chosen: Mapping[Var, Row],
    fat: Collection[Var],
    rules: Rules,
    tiny: int,
) -> Labelled:
    """Lets values follow those that were chosen: what they are made of, and what is made of them.

    A value that has rows in one way, and is read in another, is made whole first. A small value
    follows where no large one must be made whole for it; of up to ``tiny`` bytes, only if it is
    made of larger ones.
    """
    follower = _Follower(eqns, rows, chosen, fat, rules, tiny)
    while follower.backward() or follower.forward():
        continue
    return follower.result()


class _Follower:
    def __init__(
        self,
        eqns: Sequence[JaxprEqn],
        rows: int,
        chosen: Mapping[Var, Row],
        fat: Collection[Var],
        rules: Rules,
        tiny: int,
    ):
        self._tiny = _tiny_values(eqns, tiny)
        self._eqns, self._rows, self._fat, self._rules = eqns, rows, fat, rules
        self._labels: dict[Var, Row] = {}
        self._makers = {var: eqn for eqn in eqns for var in eqn.outvars}
        for var, row in chosen.items():
            if self._needs(self._makers[var], row) is not None:
                self._set(self._makers[var], row)

    def _needs(self, eqn: JaxprEqn, row: Row) -> list[Need] | None:
        return self._rules.needs(eqn, self._rows, row)

    def _set(self, eqn: JaxprEqn, row: Row) -> None:
        if all(self._labels.get(var, row) == row for var in eqn.outvars):
            self._labels.update(dict.fromkeys(eqn.outvars, row))

    def _row(self, eqn: JaxprEqn) -> Row | None:
        row = self._labels.get(eqn.outvars[0]) if eqn.outvars else None
        is_whole = row is None or any(self._labels.get(var) != row for var in eqn.outvars)
        return None if is_whole else row

    def _may_follow(self, eqn: JaxprEqn, row: Row) -> bool:
        """Whether an equation can be run by rows, and reads no large value otherwise."""
        needs = self._needs(eqn, row)
        if needs is None or any(v in self._labels or v in self._tiny for v in eqn.outvars):
            return False
        pairs = with_needs(eqn, needs)
        return all(self._labels.get(v, n) == n for v, n in pairs if v in self._fat)

    def backward(self) -> bool:
        """Labels what labelled values are made of; says whether there was any."""
        before = len(self._labels)
        for eqn in reversed(self._eqns):
            row = self._row(eqn)
            needs = None if row is None else self._needs(eqn, row)
            needs = needs if row is not None else accumulated(eqn, self._labels)
            for var, need in with_needs(eqn, needs or []):
                maker = self._makers.get(var)
                if isinstance(need, Row) and maker is not None and self._may_follow(maker, need):
                    self._set(maker, need)
        return len(self._labels) > before

    def forward(self) -> bool:
        """Labels what is made of labelled values; says whether there was any."""
        before = len(self._labels)
        for eqn in self._eqns:
            if not any(v in self._labels for v in variables(eqn.invars)):
                continue
            if self._row(eqn) is None and accumulated(eqn, self._labels) is None:
                self._follow(eqn)
        return len(self._labels) > before

    def _follow(self, eqn: JaxprEqn) -> None:
        for row in rows_of(eqn.outvars[0], self._rows) if eqn.outvars else ():
            if not self._may_follow(eqn, row):
                continue
            pairs = with_needs(eqn, self._needs(eqn, row) or [])
            if any(self._labels.get(var) == need for var, need in pairs if need is not None):
                self._set(eqn, row)
                return

    def result(self) -> Labelled:
        reads: dict[int, Sequence[Need]] = {}
        sums = set()
        for eqn in self._eqns:
            row = self._row(eqn)
            needs = accumulated(eqn, self._labels) if row is None else self._needs(eqn, row)
            if row is not None and needs == []:
                needs = [None] * len(eqn.invars)
            if needs is not None:
                reads[id(eqn)] = needs
                if row is None:
                    sums.add(id(eqn))
        labels = {v: r for v, r in self._labels.items() if id(self._makers[v]) in reads}
        return Labelled(tuple(self._eqns), self._rows, labels, reads, sums)


def _tiny_values(eqns: Sequence[JaxprEqn], most: int) -> set[Var]:
    """The values of few bytes that are made of such, as positions and masks of one axis."""
    made = {var for eqn in eqns for var in eqn.outvars}
    tiny: set[Var] = set()
    for eqn in eqns:
        is_small = all(size_of(var.aval) <= most for var in eqn.outvars)
        reads = variables(eqn.invars)
        if is_small and all(
            v in tiny or (v not in made and size_of(v.aval) <= most) for v in reads
        ):
            tiny.update(eqn.outvars)
    return tiny
