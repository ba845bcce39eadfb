"""A program's parts in order: loops over rows, and what is computed as it was.

What can run in one loop does: an equation stands behind the loops whose results it needs whole, and
in the loop whose rows it reads.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Sequence

from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.ir.jaxprs import variables
from sod2jax.memory.flatten import size_of
from sod2jax.schedule.chunks.labels import Labelled
from sod2jax.schedule.chunks.saving import kept_or_again


@dataclasses.dataclass(frozen=True, eq=False)
class Loop:
    """Equations that are run for a few rows at a time.

    Attributes:
      eqns: in their order; some are done again that an earlier loop did.
      outputs: the values whose rows it writes.
      sums: the equations whose results it sums up.
    """

    eqns: tuple[JaxprEqn, ...]
    outputs: tuple[Var, ...]
    sums: tuple[JaxprEqn, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Plain:
    """Equations that are run as they were."""

    eqns: tuple[JaxprEqn, ...]


Part = Loop | Plain


def parts(
    program: Labelled, outputs: Sequence[Atom], fat: Collection[Var], least: int
) -> list[Part]:
    """The parts of a program, in order.

    A loop pays where a large value need not be whole, and where ``least`` bytes are not kept at
    once; what it would have done is done as it was otherwise.

    Args:
      program: the program.
      outputs: its results.
      fat: its large values.
      least: bytes of what is alive inside a loop, on all rows.
    """
    return _Planner(program, outputs, fat, least).parts()


class _Planner:
    def __init__(
        self, program: Labelled, outputs: Sequence[Atom], fat: Collection[Var], least: int
    ):
        self._program, self._fat, self._least = program, fat, least
        self._kept = set(variables(outputs))
        self._levels = _levels(program)
        self._moved: set[int] = set()  # to a later loop, which alone needs them
        self._place = {id(eqn): k for k, eqn in enumerate(program.eqns)}
        self._readers: dict[Var, list[JaxprEqn]] = collections.defaultdict(list)
        self._makers: dict[Var, JaxprEqn] = {}
        for eqn in program.eqns:
            for var in variables(eqn.invars):
                self._readers[var].append(eqn)
            if program.is_by_rows(eqn) and id(eqn) not in program.sums:
                self._makers.update(dict.fromkeys(eqn.outvars, eqn))

    def parts(self) -> list[Part]:
        """From the last level to the first: what a part needs decides what those before keep."""
        by_rows, as_it_was = collections.defaultdict(list), collections.defaultdict(list)
        for eqn in self._program.eqns:
            kind = by_rows if self._program.is_by_rows(eqn) else as_it_was
            kind[self._levels[id(eqn)]].append(eqn)
        found: list[Part] = []
        for level in range(max(self._levels.values(), default=-1), -1, -1):
            found += self._loop(by_rows[level])
            found.append(self._plain(as_it_was[level]))
        return [part for part in reversed(found) if part.eqns]

    def _plain(self, eqns: Iterable[JaxprEqn], is_moved: bool = False) -> Plain:
        live = []
        for eqn in reversed(list(eqns)):
            if id(eqn) in self._moved and not is_moved:
                continue
            if eqn.effects or not self._kept.isdisjoint(eqn.outvars):
                live.append(eqn)
                self._kept.update(variables(eqn.invars))
        return Plain(tuple(reversed(live)))

    def _loop(self, eqns: Sequence[JaxprEqn]) -> list[Part]:
        """A loop and what follows it, the last first; in one plain part if it does not pay."""
        live, fetched = self._needed(eqns)
        if not live:
            return []
        saved, again, moved = kept_or_again(
            self._program, self._makers, live, fetched, self._kept, self._readers
        )
        inside = sorted([*live, *again], key=lambda eqn: self._place[id(eqn)])
        if not self._pays(inside):
            return [self._plain(eqns)]
        self._moved |= moved
        done_again = {id(eqn) for eqn in again} - moved
        after = self._epilogue(inside, done_again)
        followed = self._plain([eqn for eqn in inside if id(eqn) in after], is_moved=True)
        kept_inside = [eqn for eqn in inside if id(eqn) not in after]
        own = [eqn for eqn in kept_inside if id(eqn) not in done_again]
        sums = [eqn for eqn in own if id(eqn) in self._program.sums]
        summed = {id(eqn) for eqn in sums}
        rows = [var for eqn in own if id(eqn) not in summed for var in eqn.outvars]
        loop = Loop(tuple(kept_inside), tuple(v for v in rows if v in self._kept), tuple(sums))
        made = {var for eqn in kept_inside for var in eqn.outvars}
        for eqn in kept_inside:
            for var, need in self._program.operands(eqn):
                if var not in made or not self._program.is_aligned(var, need):
                    self._kept.add(var)
        self._kept.update(saved)
        return [followed, loop]

    def _needed(self, eqns: Sequence[JaxprEqn]) -> tuple[list[JaxprEqn], list[Var]]:
        """The equations of a loop that are needed, and what they read by rows of earlier ones."""
        own = {var for eqn in eqns for var in eqn.outvars}
        needed, live, fetched = set(self._kept), [], dict[Var, None]()
        for eqn in reversed(eqns):
            if needed.isdisjoint(eqn.outvars) or id(eqn) in self._moved:
                continue
            live.append(eqn)
            for var, need in self._program.operands(eqn):
                if not self._program.is_aligned(var, need) or var not in self._makers:
                    continue
                if var in own:
                    needed.add(var)
                else:
                    fetched[var] = None
        return live[::-1], list(fetched)

    def _pays(self, inside: Sequence[JaxprEqn]) -> bool:
        within = {v for eqn in inside for v in eqn.outvars if v not in self._kept}
        by_rows = {var for var in within if var in self._program.labels}
        return not by_rows.isdisjoint(self._fat) and peak_bytes(inside, by_rows) >= self._least

    def _epilogue(self, inside: Sequence[JaxprEqn], again: Collection[int]) -> set[int]:
        """Small work at a loop's end on what it keeps anyway: as well done on all rows, after it.

        In the loop, what it writes would be alive together with what it reads of the same kind.
        """
        made = {var: eqn for eqn in inside for var in eqn.outvars}
        users = collections.defaultdict(set)
        for eqn in inside:
            for var in variables(eqn.invars):
                users[var].add(id(eqn))

        def is_small(eqn: JaxprEqn) -> bool:
            return self._fat_free(eqn) and id(eqn) not in self._program.sums

        last = {id(eqn) for eqn in inside if is_small(eqn) and id(eqn) not in again}
        while True:
            stays = {
                id(eqn)
                for eqn in inside
                if id(eqn) in last
                and all(users[var] <= last for var in eqn.outvars)
                and all(
                    var in self._kept or id(made[var]) in last
                    for var in variables(eqn.invars)
                    if var in made
                )
            }
            if stays == last:
                return last
            last = stays

    def _fat_free(self, eqn: JaxprEqn) -> bool:
        return not any(var in self._fat for var in (*variables(eqn.invars), *eqn.outvars))


def _levels(program: Labelled) -> dict[int, int]:
    """Of each equation, how many loops stand before it."""
    by_rows: dict[Var, int] = {}
    whole: dict[Var, int] = {}
    levels = {}
    for eqn in program.eqns:
        level = 0
        for var, need in program.operands(eqn):
            is_aligned = var in by_rows and program.is_aligned(var, need)
            level = max(level, by_rows[var] if is_aligned else whole.get(var, 0))
        levels[id(eqn)] = level
        is_looped = program.is_by_rows(eqn)
        whole.update(dict.fromkeys(eqn.outvars, level + is_looped))
        if is_looped and id(eqn) not in program.sums:
            by_rows.update(dict.fromkeys(eqn.outvars, level))
    return levels


def peak_bytes(eqns: Sequence[JaxprEqn], values: Collection[Var]) -> int:
    """The most bytes of some values that are alive at once, in the order of equations."""
    last = {var: k for k, eqn in enumerate(eqns) for var in variables(eqn.invars)}
    freed = collections.defaultdict(int)
    alive = most = 0
    for k, eqn in enumerate(eqns):
        for var in eqn.outvars:
            if var in values:
                alive += size_of(var.aval)
                freed[max(last.get(var, k), k)] += size_of(var.aval)
        most = max(most, alive)
        alive -= freed[k]
    return most
