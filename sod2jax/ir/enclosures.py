"""Sound bounds of a dimension where ranges and constraints hold: by trial, intervals or proof."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import sympy

from sod2jax.ir import dims, proofs
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.intervals import Interval, Ranges, meet, of_expression

_ENUMERATE = 1 << 16  # points up to which bounds come from trying every size
_NOTHING = Interval(1, 0)

Constraints = tuple[Comparison, ...]


@functools.lru_cache(maxsize=65536)
def enclosure(dim: sympy.Expr, ranges: Ranges, constraints: Constraints) -> Interval:
    """Smallest and largest value of a dimension.

    Exact where every size can be tried; else by interval arithmetic and proofs (sound, maybe
    wider).
    """
    if isinstance(dim, sympy.Symbol) and not constraints:
        return next(Interval(low, high) for name, low, high in ranges if name == dim.name)
    return known(dim, ranges, constraints) or of_expression(sympy.sympify(dims.folded(dim)), ranges)


@functools.lru_cache(maxsize=65536)
def known(dim: sympy.Expr, ranges: Ranges, constraints: Constraints) -> Interval | None:
    """As ``enclosure``; None where it is shown that there are no sizes at all."""
    names = _connected(dims.symbols_of(dim), constraints)
    ranges = tuple(span for span in ranges if span[0] in names)
    constraints = tuple(c for c in constraints if c.symbols <= names)
    found = _enumerated(dim, ranges, constraints)
    if found is not None:
        return None if found.is_empty else found
    simple = of_expression(sympy.sympify(dims.folded(dim)), ranges)
    if not constraints and _is_independent(dim):
        return simple
    proved = proofs.proved(dim, ranges, _positive(constraints))
    return None if proved is None else meet(simple, proved)


@functools.lru_cache(maxsize=8192)
def _positive(constraints: Constraints) -> tuple[sympy.Expr, ...]:
    """What is 0 or more where some constraints hold."""
    differences = [(c.op, sympy.sympify(c.difference)) for c in constraints if c.op != "!="]
    both = [sympy.expand(-d) for op, d in differences if op == "=="]
    return (*(d for _, d in differences), *both)


def _is_independent(dim: sympy.Expr) -> bool:
    """Whether no symbol occurs twice, and so interval arithmetic is good enough."""
    nodes: list[Any] = list(sympy.preorder_traversal(dim))
    leaves = [node.name for node in nodes if node.is_Symbol]
    return len(set(leaves)) == len(leaves) and not any(node.is_Pow for node in nodes)


def _enumerated(dim: sympy.Expr, ranges: Ranges, constraints: Constraints) -> Interval | None:
    """Bounds by trying every size, of which there must be few; empty where no size is inside."""
    axes = []
    for name, low, high in ranges:
        if high is None:
            return None
        axes.append((name, low, high))
    if math.prod(high - low + 1 for _, low, high in axes) > _ENUMERATE:
        return None
    largest = {name: max(abs(low), abs(high)) for name, low, high in axes}
    if any(dims.magnitude(d, largest) >= 1 << 63 for d in (dim, *_both_sides(constraints))):
        return None  # NumPy's integers would overflow
    grid = np.meshgrid(*(np.arange(lo, hi + 1) for _, lo, hi in axes), indexing="ij")
    sizes = {name: points.ravel() for (name, _, _), points in zip(axes, grid, strict=True)}
    with np.errstate(divide="ignore"):  # by a size that is 0
        evaluated = dims.evaluate(dim, sizes)
    values = np.broadcast_to(evaluated, next(iter(sizes.values())).shape)
    for constraint in constraints:
        with np.errstate(divide="ignore"):
            inside = np.broadcast_to(constraint.holds(sizes), values.shape)
        values, sizes = values[inside], {n: s[inside] for n, s in sizes.items()}
    return Interval(int(values.min()), int(values.max())) if values.size else _NOTHING


def _both_sides(constraints: Constraints) -> list[Any]:
    return [side for c in constraints for side in (c.left, c.right)]


def _connected(names: frozenset[str], constraints: Constraints) -> frozenset[str]:
    """The symbols that constraints tie to those given, and these themselves."""
    for constraint in constraints:
        if names & constraint.symbols and not constraint.symbols <= names:
            return _connected(names | constraint.symbols, constraints)
    return names
