"""Where traces differ in structure: the question about sizes that tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy

from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison

_DIVISORS = range(2, 9)

Sizes = Mapping[str, int]


def splitting(
    sizes: Sizes,
    alike: list[dict[str, int]],
    others: list[dict[str, int]],
    is_alike: Callable[[Sizes], bool],
) -> Comparison | None:
    """What holds at some sizes, and where the trace is like theirs, and not where it is another.

    A remainder of a size, or a smallest or largest size; None where neither explains the samples.

    Args:
      sizes: of a call.
      alike: sizes whose traces are like that of the call.
      others: sizes whose traces are not.
      is_alike: tells it of further sizes.
    """
    for name in sorted(sizes):
        for divisor in _DIVISORS:
            here, there = ({p[name] % divisor for p in points} for points in (alike, others))
            tried = len(alike) + len(others)
            if len(here) == 1 and here.isdisjoint(there) and len(there) < divisor < tried / 2:
                remainder: Any = dims.mod(dims.symbol(name), sympy.Integer(divisor))
                return Comparison.of(remainder, "==", sizes[name] % divisor)
    if len(sizes) > 1:
        return None
    ((name, own),) = sizes.items()
    here, there = ([p[name] for p in points] for points in (alike, others))
    below, above = [n for n in there if n < own], [n for n in there if n > own]
    if any(n < max(below, default=0) or n > min(above, default=n) for n in here):
        return None
    symbol = dims.symbol(name)
    if below:
        first = _edge(max(below), min(here), lambda n: is_alike({name: n}))
        return Comparison.of(symbol, ">=", first)
    last = _edge(min(above), max(here), lambda n: is_alike({name: n}))
    return Comparison.of(last, ">=", symbol)


def _edge(outside: int, inside: int, is_inside: Callable[[int], bool]) -> int:
    """The last number that is inside, on the way from one inside to one outside."""
    while abs(outside - inside) > 1:
        middle = (outside + inside) // 2
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return inside
