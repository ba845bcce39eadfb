"""Of what a loop reads by rows, which values are kept, and which are computed again inside it.

A minimum cut: keeping a value costs its bytes, computing it again its work and what it reads in
turn. Flash attention's saved statistics of rows are such a cut.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from sod2jax._compat import JaxprEqn, Var
from sod2jax.cost import formulas
from sod2jax.memory.flatten import size_of
from sod2jax.schedule.chunks.labels import Labelled

# Seconds, on one core of a CPU: what a byte costs that is kept (memory counts more than the time of
# writing and reading it), one that is kept anyway, and an operation.
_PER_BYTE_KEPT = 8e-9
_PER_BYTE_READ = 5e-11
_PER_FLOP = 1 / 6e10
_UNIT = 1e-7  # seconds: capacities are 32-bit integers
_MOST = 1 << 24
_ENDLESS = 1 << 29


def flops_of(eqn: JaxprEqn) -> float:
    """Operations of an equation of static shapes."""
    size, count = formulas.flops(eqn)
    return float(size) * float(count)


def kept_or_again(
    program: Labelled,
    makers: dict[Var, JaxprEqn],
    inside: Sequence[JaxprEqn],
    fetched: Collection[Var],
    kept: Set[Var],
    readers: dict[Var, list[JaxprEqn]],
) -> tuple[list[Var], list[JaxprEqn], set[int]]:
    """The values that a loop reads by rows; the equations that it does again; those only it needs.

    Args:
      program: the program.
      makers: of each value that earlier loops compute by rows, its equation.
      inside: the loop's own equations.
      fetched: what these read by rows of earlier loops.
      kept: what is kept anyway.
      readers: of each value, the equations that read it.
    """
    behind = _behind(program, makers, fetched)
    if not behind:
        return [], [], set()
    free = _needed_here_only(program, behind, inside, kept, readers)
    number = {id(eqn): 2 + k for k, eqn in enumerate(behind)}
    values = {var: 0 for eqn in behind for var in eqn.outvars}
    values = {var: 2 + len(behind) + k for k, var in enumerate(values)}
    edges: dict[tuple[int, int], int] = {}
    for eqn in behind:
        at = number[id(eqn)]
        work = 0 if id(eqn) in free else _units(flops_of(eqn) * _PER_FLOP)
        edges[0, at] = max(work, 1)
        for var in eqn.outvars:
            rate = _PER_BYTE_READ if var in kept else _PER_BYTE_KEPT
            edges[at, values[var]] = max(_units(size_of(var.aval) * rate), 1)
        for var, need in program.operands(eqn):
            if var in values and program.is_aligned(var, need):
                edges[values[var], at] = _ENDLESS
    edges.update(((values[var], 1), _ENDLESS) for var in fetched)
    above = _side_of_source(edges, 2 + len(behind) + len(values))
    saved: dict[Var, None] = {}
    again: dict[int, JaxprEqn] = {}
    waiting = list(fetched)
    while waiting:
        var = waiting.pop()
        eqn = makers[var]
        if number[id(eqn)] in above:
            saved[var] = None
        elif id(eqn) not in again:
            again[id(eqn)] = eqn
            reads = program.operands(eqn)
            waiting += [v for v, need in reads if v in values and program.is_aligned(v, need)]
    done = [eqn for eqn in behind if id(eqn) in again]
    moved = _needed_here_only(program, done, inside, kept | saved.keys(), readers)
    return list(saved), done, moved


def _units(seconds: float) -> int:
    return min(int(seconds / _UNIT), _MOST)


def _behind(
    program: Labelled, makers: dict[Var, JaxprEqn], fetched: Collection[Var]
) -> list[JaxprEqn]:
    """The equations of earlier loops that fetched rows are made by, the first ones first."""
    found: dict[int, JaxprEqn] = {}
    waiting = list(fetched)
    while waiting:
        eqn = makers[waiting.pop()]
        if id(eqn) in found:
            continue
        found[id(eqn)] = eqn
        reads = program.operands(eqn)
        waiting += [v for v, need in reads if v in makers and program.is_aligned(v, need)]
    return [eqn for eqn in program.eqns if id(eqn) in found]


def _needed_here_only(
    program: Labelled,
    behind: Sequence[JaxprEqn],
    inside: Sequence[JaxprEqn],
    kept: Set[Var],
    readers: dict[Var, list[JaxprEqn]],
) -> set[int]:
    """Equations that nothing but this loop needs, and nothing whole."""
    here = {id(eqn) for eqn in inside}
    free: set[int] = set()
    for eqn in reversed(behind):
        outs = set(eqn.outvars)
        users = {id(user): user for var in outs for user in readers.get(var, ())}
        reads = [read for user in users.values() for read in program.operands(user)]
        by_rows = all(program.is_aligned(var, need) for var, need in reads if var in outs)
        if users.keys() <= here | free and by_rows and outs.isdisjoint(kept):
            free.add(id(eqn))
    return free


def _side_of_source(edges: dict[tuple[int, int], int], nodes: int) -> set[int]:
    """The nodes that node 0 still reaches when the flow from it to node 1 is at its most."""
    rows, columns = np.array(list(edges), np.int32).T
    capacity = np.fromiter(edges.values(), np.int32, len(edges))
    graph = coo_matrix((capacity, (rows, columns)), (nodes, nodes)).tocsr()
    residual = graph - maximum_flow(graph, 0, 1).flow
    residual.data = (residual.data > 0).astype(np.int32)
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, 0, directed=True, return_predecessors=False)
    return set(map(int, reached))
