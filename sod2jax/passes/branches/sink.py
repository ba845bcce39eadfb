"""Sinking: work that one branch of one cond uses, and nothing else, moves into that branch.

What the work reads must then live until the cond runs. It stays outside where that holds more bytes
in memory than the work has flops: a sum is then cheaper to compute early than its operand to keep.
"""

from __future__ import annotations

from collections.abc import Sequence

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.cost import Cost, Counter, size_of
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import used_in, variables
from sod2jax.ir.region import Region
from sod2jax.ir.surgery import Copier
from sod2jax.ir.vocabulary import CALLBACKS
from sod2jax.passes.branches.conds import cond_of, is_plain, positions
from sod2jax.passes.remark import Remark, counted
from sod2jax.target import Target

Use = tuple[int, int | None]  # position of the reader; the branch that reads, None for all of it


def sunk(
    eqns: Sequence[JaxprEqn],
    outputs: Sequence[Atom],
    copier: Copier,
    counter: Counter,
    region: Region,
    target: Target,
) -> tuple[list[JaxprEqn], list[Remark]]:
    """Equations with what each cond's branches alone use moved into them; whole chains move.

    An equation runs at most as often as before, so loops may move as well; effects and callbacks
    never do.
    """
    eqns, remarks = list(eqns), []
    ends = [eqns[k].outvars[0] for k in reversed(positions(eqns)) if eqns[k].outvars]
    for end in ends:  # the last first; one may have moved into another meanwhile
        at = next((k for k, eqn in enumerate(eqns) if end in eqn.outvars), None)
        if at is None or not is_plain(eqns[at]):
            continue
        moves = _moves(eqns, at, outputs)
        for branch in sorted(set(moves.values())):
            work = [eqns[k] for k in sorted(moves) if moves[k] == branch]
            held, remark = _weighed(eqns, at, branch, work, outputs, counter, region, target)
            remarks.append(remark)
            if held:
                moves = {k: b for k, b in moves.items() if b != branch}
        if moves:
            eqns[at] = _with_work(eqns, at, moves, copier)
            eqns = [eqn for k, eqn in enumerate(eqns) if k not in moves]
    return eqns, remarks


def _moves(eqns: Sequence[JaxprEqn], at: int, outputs: Sequence[Atom]) -> dict[int, int]:
    """Positions of the equations that move into the cond at ``at``, with the branch of each."""
    ends = set(variables(outputs))
    uses: dict[Var, set[Use]] = {}
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
        is_seen = eqn.effects or eqn.primitive.name in CALLBACKS
        if one is not None and not is_seen and not ends & set(eqn.outvars):
            moves[k] = one
        for var in variables(eqn.invars):
            uses.setdefault(var, set()).add((k, None))
    return moves


def _reads(cond: JaxprEqn) -> list[tuple[Var, int | None]]:
    """Which branches of a cond read each of its operands."""
    index, *operands = cond.invars
    reads: list[tuple[Var, int | None]] = [(var, None) for var in variables([index])]
    for k, branch in enumerate(cond.params["branches"]):
        used = used_in(branch.eqns, branch.outvars)
        pairs = zip(operands, branch.invars, strict=True)
        reads += [(a, k) for a, v in pairs if v in used and not _compat.is_literal(a)]
    return reads


def _with_work(
    eqns: Sequence[JaxprEqn], at: int, moves: dict[int, int], copier: Copier
) -> JaxprEqn:
    """The cond with the moved equations in its branches."""
    cond = eqns[at]
    branches = []
    operands = list(cond.invars[1:])
    for number, branch in enumerate(cond.params["branches"]):
        work = [eqns[k] for k in sorted(moves) if moves[k] == number]
        inner, outs = copier.body(branch, cond.invars[1:], cond)
        branches.append(([*work, *inner], outs))
        operands += [atom for eqn in work for atom in eqn.invars]
    made = {var for k in moves for var in eqns[k].outvars}
    outside = [var for var in variables(operands) if var not in made]
    return cond_of(cond.invars[0], outside, branches, cond.outvars, like=cond)


def _weighed(
    eqns: Sequence[JaxprEqn],
    at: int,
    branch: int,
    work: Sequence[JaxprEqn],
    outputs: Sequence[Atom],
    counter: Counter,
    region: Region,
    target: Target,
) -> tuple[bool, Remark]:
    """Whether work must stay outside a branch, and the numbers that decided."""
    made = {var for eqn in work for var in eqn.outvars}
    inputs = used_in(work, ()).keys() - made
    given = made & {var for var, _ in _reads(eqns[at])}
    cost = counter.equations(work, inputs, given)
    alive = used_in(eqns[at:], outputs)
    computed = {var for eqn in eqns[:at] for var in eqn.outvars}
    kept = [var for var in inputs if var in computed and var not in alive]
    sizes = target.usual_sizes(region)
    longer, shorter = (sum(int(dims.evaluate(size_of(v), sizes)) for v in s) for s in (kept, given))
    flops, extra = int(cost.at(sizes).flops), longer - shorter
    source, number = _compat.source_line(eqns[at]), counted(len(work))
    if extra > flops:
        reason = f"{extra:,} bytes more would be kept for it, to save {flops:,} flops"
        return True, Remark(f"left {number} before a cond that one branch uses", source, reason)
    reason = f"nothing else uses them: {describe(cost, region)} less where another is taken"
    return False, Remark(f"moved {number} into branch {branch} of a cond", source, reason)


def describe(cost: Cost, region: Region) -> str:
    """A cost in numbers where it is bounded, else in dimensions."""
    most = cost.largest(region)
    return f"{cost}" if most is None else f"{'up to ' if most != cost else ''}{most}"
