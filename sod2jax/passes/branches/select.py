"""Cheap branches become selects: what the control flow costs, against running all branches.

A ``cond`` on XLA's CPU backend costs its own overhead, and memory traffic: its results are written
to memory and read back, where a select is fused into the kernels around it. A select costs what the
branches that are not taken compute. Both are estimated in seconds (``Cost.seconds``), at the
largest sizes of the region, with the cheapest branch taken; the smaller wins.

``python bench/branches.py`` measures both. Microseconds for each of a chain of 8, on a CPU core
(jax 0.10.2, of two busy ones, the best of many runs), where the other branch is ``x * 1.01``:

                           work taken         work not taken
    work        size     cond   select       cond   select   decision
    add            1     0.71     0.31       0.73     0.33   select
    add         4096     1.29     1.31       1.39     1.32   select
    add        65536    10.04     1.88       9.96     1.96   select
    add       524288   214.21     1.63     213.51     0.00   select
    tanh           1     0.66     0.34       0.72     0.34   select
    tanh        4096     2.62     5.40       1.30     1.27   cond
    tanh       65536    23.92    55.51      16.97     2.87   cond
    softmax        1     0.65     0.34       0.72     0.58   select
    softmax     8192    10.35     7.53       3.12     7.94   cond
    softmax    65536    65.88    60.57      10.25    71.01   cond
    matmul         1     0.29     0.28       0.64     0.28   select
    matmul        16     1.95     1.81       1.20     1.77   cond
    matmul        64     6.85     5.54       1.31     6.77   cond

So a branch costs some 0.4 us by itself, and grows by about 1 ns per 10 bytes of its results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn, Var
from sod2jax.cost import Cost, Counter, size_of
from sod2jax.ir import vocabulary
from sod2jax.ir.jaxprs import read
from sod2jax.ir.region import Region
from sod2jax.ir.surgery import Copier, replaced_in_turn
from sod2jax.passes.branches.conds import is_cond, is_plain
from sod2jax.passes.branches.sink import describe
from sod2jax.passes.branches.value_numbering import Numbering
from sod2jax.passes.remark import Remark
from sod2jax.target import Target

OVERHEAD = 5e-7
"""Seconds that a cond costs beside its branches and its results' traffic."""

# Their loops run as long as the values say, which a branch may have been there to rule out.
_ITERATED = frozenset(
    "igamma igamma_grad_a igammac polygamma regularized_incomplete_beta zeta".split()
)
# What cannot fail, and ends soon, whatever the values are.
_SAFE = frozenset().union(
    vocabulary.ELEMENTWISE - _ITERATED - vocabulary.FOREIGN,
    vocabulary.CASTS,
    vocabulary.KEY_CASTS,
    vocabulary.COPIES,
    vocabulary.GENERATORS,
    vocabulary.LAYOUT,
    vocabulary.ASSEMBLY,
    vocabulary.DYNAMIC_SLICES,  # clamped
    vocabulary.REDUCTIONS,
    vocabulary.ARG_REDUCTIONS,
    vocabulary.CUMULATIVE,
    vocabulary.WINDOW_REDUCTIONS,
    vocabulary.CONVOLUTIONS,
    vocabulary.CALLS,
    "bitcast_convert_type dim_as_value dot_general random_bits random_fold_in random_seed".split(),
    "sort threefry2x32".split(),
)
# Safe where their indices are checked: clamped, or dropped when out of bounds.
_SAFE_IN_BOUNDS = vocabulary.GATHERS | vocabulary.SCATTERS


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Whether a cond becomes a select, and the numbers that decided."""

    selects: bool
    reason: str


def judge(eqn: JaxprEqn, counter: Counter, region: Region, target: Target) -> Judgement:
    """Decides by counted work, for the largest sizes of a region."""
    if not is_plain(eqn):
        return Judgement(False, "a branch has effects, or constants of its own")
    branches = eqn.params["branches"]
    unsafe = {e.primitive.name for b in branches for e in b.eqns if not _is_safe(e)}
    if unsafe:
        names = ", ".join(sorted(unsafe))
        return Judgement(False, f"{names} must not run in a branch that is not taken")
    costs = [counter.equations(b.eqns, (*b.invars, *b.constvars), ()) for b in branches]
    most = [cost.largest(region) for cost in costs]
    traffic = _traffic(eqn).largest(region)
    shown = " and ".join(describe(cost, region) for cost in costs)
    if traffic is None or None in most:
        return Judgement(False, f"its branches ({shown}) have no bound over {region}")
    seconds = [cost.seconds(target) for cost in most if cost is not None]
    wasted, saved = sum(seconds) - min(seconds), OVERHEAD + traffic.seconds(target)
    comparison = "at most" if wasted <= saved else "over"
    reason = (
        f"running its branches for nothing ({shown}) costs {wasted * 1e6:,.2f} us, {comparison} "
        f"the {saved * 1e6:,.2f} us of a branch and its results"
    )
    return Judgement(wasted <= saved, reason)


def _traffic(eqn: JaxprEqn) -> Cost:
    """What it costs to write the results of a cond to memory and to read them back."""
    return sum((Cost(bytes=size_of(var)).times(2) for var in eqn.outvars), Cost())


def _is_safe(eqn: JaxprEqn) -> bool:
    """Whether running an equation for nothing can neither be seen, fail, nor take for ever."""
    name = eqn.primitive.name
    if eqn.effects or any(_is_strange(v.aval) for v in eqn.outvars):
        return False
    if name in _SAFE_IN_BOUNDS:
        return eqn.params["mode"] is not lax.GatherScatterMode.PROMISE_IN_BOUNDS
    return name in _SAFE and all(
        map(_is_safe, (e for _, body in _compat.sub_jaxprs(eqn) for e in body.eqns))
    )


def _is_strange(aval: Any) -> bool:
    return getattr(aval, "dtype", jax.dtypes.float0) == jax.dtypes.float0


def _selected(
    eqn: JaxprEqn, numbering: Numbering, env: Mapping[Var, Atom], copier: Copier
) -> tuple[list[JaxprEqn], dict[Var, Atom]]:
    """A cond as selects: its branches' equations, and the results that need no select."""
    new, cases = [], []
    for branch in eqn.params["branches"]:
        body, outs = copier.body(branch, eqn.invars[1:], eqn)
        new += body
        cases.append(outs)
    which, before = _which(eqn, numbering)
    which = read(env, which)
    new += before
    alike = {}
    for var, *outs in zip(eqn.outvars, *cases, strict=True):
        if all(out is outs[0] for out in outs):
            alike[var] = outs[0]
            continue
        new.append(_compat.new_equation(lax.select_n_p, [which, *outs], [var], {}, like=eqn))
    return new, alike


def _which(eqn: JaxprEqn, numbering: Numbering) -> tuple[Var, list[JaxprEqn]]:
    """What selects among the branches, and the equations that compute it."""
    predicate, count = numbering.predicate(eqn), len(eqn.params["branches"])
    if predicate is not None:
        return predicate, []
    index = eqn.invars[0]
    first, last = (_compat.new_literal(end, index.aval) for end in (0, count - 1))
    clamped = _compat.new_variable(index.aval)
    new = [_compat.new_equation(lax.clamp_p, [first, index, last], [clamped], {}, like=eqn)]
    if count > 2:
        return clamped, new
    # With two branches, which selects must be a boolean.
    chosen = _compat.new_variable(index.aval.update(dtype=bool, weak_type=False))
    return chosen, [*new, _compat.new_equation(lax.gt_p, [clamped, first], [chosen], {}, like=eqn)]


def with_selects(
    eqns: Sequence[JaxprEqn],
    outputs: Sequence[Atom],
    judgements: Mapping[Var, Judgement],
    copier: Copier,
) -> tuple[list[JaxprEqn], list[Atom], list[Remark]]:
    """Equations and outputs with the conds that were judged so made selects."""
    numbering = Numbering(eqns)
    new, env, remarks = [], {}, []
    for eqn in replaced_in_turn(eqns, env):
        judged = judgements.get(eqn.outvars[0]) if is_cond(eqn) and eqn.outvars else None
        if judged is None:
            new.append(eqn)
            continue
        source = _compat.source_line(eqn)
        if not judged.selects:
            remarks.append(Remark("kept a cond", source, judged.reason))
            new.append(eqn)
            continue
        body, alike = _selected(eqn, numbering, env, copier)
        new += body
        env |= alike
        remarks.append(Remark("made a cond a select", source, judged.reason))
    return new, [read(env, atom) for atom in outputs], remarks
