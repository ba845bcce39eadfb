"""Sinking: work that one branch of one cond uses, and nothing else, moves into that branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sod2jax import _compat
from sod2jax.cost import Cost, Counter
from sod2jax.passes.change import Change
from sod2jax.passes.numbering import conds
from sod2jax.passes.surgery import Copier, cond_of, is_plain, used_in, variables
from sod2jax.region import Region

Use = tuple[int, int | None]  # position of the reader; the branch that reads, None for all of it


def sunk(
    eqns: Sequence[Any], outputs: Sequence[Any], copier: Copier, counter: Counter, area: Region
) -> tuple[list[Any], list[Change]]:
    """Equations with what each cond's branches alone use moved into them; whole chains move.

    An equation runs at most as often as before, so loops may move as well; effects never do.
    """
    eqns, changes = list(eqns), []
    ends = [eqns[k].outvars[0] for k in reversed(conds(eqns)) if eqns[k].outvars]
    for end in ends:  # the last first; one may have moved into another meanwhile
        at = next((k for k, eqn in enumerate(eqns) if end in eqn.outvars), None)
        if at is None or not is_plain(eqns[at]):
            continue
        moves = _moves(eqns, at, outputs)
        if not moves:
            continue
        changes += _changes(eqns, at, moves, counter, area)
        eqns[at] = _with_work(eqns, at, moves, copier)
        eqns = [eqn for k, eqn in enumerate(eqns) if k not in moves]
    return eqns, changes


def _moves(eqns: Sequence[Any], at: int, outputs: Sequence[Any]) -> dict[int, int]:
    """Positions of the equations that move into the cond at ``at``, with the branch of each."""
    ends = set(variables(outputs))
    uses: dict[Any, set[Use]] = {}
    for k in range(at + 1, len(eqns)):
        for var in variables(eqns[k].invars):
            uses.setdefault(var, set()).add((k, None))
    for var, branch in _reads(eqns[at]):
        uses.setdefault(var, set()).add((at, branch))
    moves: dict[int, int] = {}
    for k in reversed(range(at)):
        eqn = eqns[k]
        readers = [use for var in eqn.outvars for use in uses.get(var, ())]
        branches = {branch if p == at else moves.get(p) for p, branch in readers}
        one = next(iter(branches)) if len(branches) == 1 else None
        if one is not None and not eqn.effects and not ends & set(eqn.outvars):
            moves[k] = one
        for var in variables(eqn.invars):
            uses.setdefault(var, set()).add((k, None))
    return moves


def _reads(cond: Any) -> list[tuple[Any, int | None]]:
    """Which branches of a cond read each of its operands."""
    index, *operands = cond.invars
    found: list[tuple[Any, int | None]] = [(var, None) for var in variables([index])]
    for k, branch in enumerate(cond.params["branches"]):
        used = used_in(branch)
        pairs = zip(operands, branch.invars, strict=True)
        found += [(a, k) for a, v in pairs if v in used and not _compat.is_literal(a)]
    return found


def _with_work(eqns: Sequence[Any], at: int, moves: dict[int, int], copier: Copier) -> Any:
    """The cond with the moved equations in its branches."""
    cond = eqns[at]
    branches = []
    operands = list(cond.invars[1:])
    for number, branch in enumerate(cond.params["branches"]):
        work = [eqns[k] for k in sorted(moves) if moves[k] == number]
        inner, outs = copier.inlined(branch, cond.invars[1:], cond)
        branches.append(([*work, *inner], outs))
        operands += [atom for eqn in work for atom in eqn.invars]
    made = {var for k in moves for var in eqns[k].outvars}
    outside = [var for var in variables(operands) if var not in made]
    return cond_of(cond.invars[0], outside, branches, cond.outvars, like=cond)


def _changes(
    eqns: Sequence[Any], at: int, moves: dict[int, int], counter: Counter, area: Region
) -> list[Change]:
    found = []
    for number in sorted(set(moves.values())):
        work = [eqns[k] for k in sorted(moves) if moves[k] == number]
        inputs = {var for eqn in work for var in variables(eqn.invars)}
        outputs = [var for var, branch in _reads(eqns[at]) if branch == number]
        made = {var for eqn in work for var in eqn.outvars}
        cost = counter.equations(work, inputs - made, [v for v in outputs if v in made])
        found.append(
            Change(
                f"moved {len(work)} equations into branch {number} of a cond",
                _compat.source_line(eqns[at]),
                f"nothing else uses them: {describe(cost, area)} less where another is taken",
            )
        )
    return found


def describe(cost: Cost, area: Region) -> str:
    """A cost in numbers where it is bounded, else in dimensions."""
    most = cost.largest(area)
    return f"{cost}" if most is None else f"{'up to ' if most != cost else ''}{most}"
