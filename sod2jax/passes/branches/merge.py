"""Merging: conds of one index become one, with what stands between them."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import dependents, equations, read, used_in, variables
from sod2jax.ir.surgery import Copier, pruned
from sod2jax.passes.branches.conds import Branch, cond_of, is_plain, positions
from sod2jax.passes.branches.value_numbering import Numbering
from sod2jax.passes.remark import Remark, counted

MOST_COPIED = 64
"""Equations between two conds that merging may compile once more for each further branch. XLA needs
some milliseconds to compile one equation of a model; what merging saves is about a microsecond per
call, and the copies of values that go from one cond to the other."""


def merged(
    eqns: Sequence[JaxprEqn], outputs: Sequence[Atom], copier: Copier
) -> tuple[list[JaxprEqn], list[Remark]]:
    """Equations with each pair of conds of one index merged, where that is possible."""
    eqns, remarks, refused = list(eqns), [], set()
    while True:
        numbering = Numbering(eqns)
        for first, second in _pairs(eqns, numbering):
            pair = (eqns[first].outvars[0], eqns[second].outvars[0])
            if pair in refused:
                continue
            reason = _obstacle(eqns, first, second)
            if reason is None:
                break
            refused.add(pair)
            remarks.append(_kept(eqns[first], eqns[second], reason))
        else:
            return eqns, remarks
        flipped = numbering.index(eqns[first])[1] != numbering.index(eqns[second])[1]
        eqns, remark = _merge(eqns, outputs, first, second, flipped, copier)
        remarks.append(remark)


def _pairs(eqns: Sequence[JaxprEqn], numbering: Numbering) -> list[tuple[int, int]]:
    """Positions of conds and of the next cond with the same index."""
    by_index: dict[Hashable, list[int]] = {}
    for at in positions(eqns):
        if eqns[at].outvars:
            by_index.setdefault(numbering.index(eqns[at])[0], []).append(at)
    return sorted(pair for places in by_index.values() for pair in itertools.pairwise(places))


def _between(
    eqns: Sequence[JaxprEqn], first: int, second: int
) -> tuple[list[JaxprEqn], list[JaxprEqn], list[JaxprEqn]]:
    """What stands between two conds: before them, on the way from one to the other, after them."""
    middle = eqns[first + 1 : second]
    behind = dependents(middle, eqns[first].outvars)
    needed = set(variables(eqns[second].invars))
    before, way, after = [], [], []
    for eqn in reversed(middle):
        if behind.isdisjoint(eqn.outvars):
            before.append(eqn)
        elif not needed.isdisjoint(eqn.outvars):
            needed.update(variables(eqn.invars))
            way.append(eqn)
        else:
            after.append(eqn)
    return before[::-1], way[::-1], after[::-1]


def _obstacle(eqns: Sequence[JaxprEqn], first: int, second: int) -> str | None:
    """Why two conds of one index cannot be merged."""
    if not (is_plain(eqns[first]) and is_plain(eqns[second])):
        return "a branch has effects, or constants of its own"
    if any(eqn.effects for eqn in eqns[first : second + 1]):
        return "an effect between them must stay in its place"
    _, way, _ = _between(eqns, first, second)
    copied = _count(way) * (len(eqns[first].params["branches"]) - 1)
    if copied > MOST_COPIED:
        return (
            f"{counted(_count(way))} on the way from the first to the second would be compiled "
            f"once per branch, over the limit of {MOST_COPIED} more"
        )
    return None


def _count(eqns: Sequence[JaxprEqn]) -> int:
    inner = (body for eqn in eqns for _, body in _compat.sub_jaxprs(eqn))
    return len(eqns) + sum(1 for body in inner for _ in equations(body))


def _kept(first: JaxprEqn, second: JaxprEqn, reason: str) -> Remark:
    places = f"that at {_compat.source_line(second)}"
    return Remark(f"kept a cond apart from {places}", _compat.source_line(first), reason)


def _merge(
    eqns: Sequence[JaxprEqn],
    outputs: Sequence[Atom],
    first: int,
    second: int,
    flipped: bool,
    copier: Copier,
) -> tuple[list[JaxprEqn], Remark]:
    one, other = eqns[first], eqns[second]
    before, way, after = _between(eqns, first, second)
    rest = [*after, *eqns[second + 1 :]]
    used = used_in(rest, outputs)
    made = [var for eqn in (one, *way, other) for var in eqn.outvars]
    kept = [var for var in made if var in used]
    others = other.params["branches"][:: -1 if flipped else 1]
    branches = []
    for mine, its in zip(one.params["branches"], others, strict=True):
        branches.append(_joined(mine, its, one, way, other, kept, copier))
    inside = set(made)
    operands = [*one.invars[1:], *(v for e in (*way, other) for v in e.invars)]
    outside = [v for v in variables(operands) if v not in inside]
    merged_cond = cond_of(one.invars[0], outside, branches, kept, like=one)
    reason = f"their index is the same{', negated' if flipped else ''}"
    if way:
        reason += f"; {counted(_count(way))} between them moved in, once per branch"
    what = f"merged a cond with that at {_compat.source_line(other)}"
    new = [*eqns[:first], *before, merged_cond, *rest]
    return pruned(new, outputs), Remark(what, _compat.source_line(one), reason)


def _joined(
    mine: Jaxpr,
    its: Jaxpr,
    one: JaxprEqn,
    way: Sequence[JaxprEqn],
    other: JaxprEqn,
    kept: Sequence[Var],
    copier: Copier,
) -> Branch:
    """One branch of each cond and the equations between them."""
    new, outs = copier.body(mine, one.invars[1:], one)
    env = dict(zip(one.outvars, outs, strict=True))
    new += copier.copies(way, env)
    more, outs = copier.body(its, [read(env, atom) for atom in other.invars[1:]], other)
    env.update(zip(other.outvars, outs, strict=True))
    return [*new, *more], [env[var] for var in kept]
