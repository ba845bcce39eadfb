"""The search for ladders: few sizes, with as little padding as their number allows."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from sod2jax.buckets.ladders import Ladders
from sod2jax.errors import SpecError
from sod2jax.ir.region import Region

_ALIGN = 8  # edges are multiples of this where the range is wide enough
_COMPUTED_SIZES = 4  # sizes of symbols that a program computes, at least
_MOST_EDGES = 512  # candidate edges of the search

Spacings = tuple[tuple[float, tuple[int, ...]], ...]  # (padded over true size, ladder) by length


def choose(
    region: Region,
    given: Mapping[str, tuple[int, ...]],
    max_executables: int,
    edges: Mapping[str, tuple[int, ...]] | None = None,
    starts: Mapping[str, int] | None = None,
) -> Ladders:
    """The ladders for a region: those given, and for the rest the best that the number allows.

    A given ladder is cut to the region: sizes under its range go, sizes over it become its end.
    Where all sizes of a symbol are multiples of a number, so are those of its ladder, which serve
    the same true sizes.

    Args:
      region: the sizes to serve; open symbols grow on demand, whatever end decisions gave them.
      given: ladders of the user.
      max_executables: how many buckets there may be.
      edges: bounded symbols whose buckets should not overlap; sizes to have on their ladders,
        unless given, where the number allows.
      starts: the first sizes of symbols that grow; 16 where nothing is said.

    Raises:
      SpecError: the given ladders make more buckets than ``max_executables``.
    """
    edges, units = edges or {}, region.divisors
    given = {
        n: _whole(_cut(given[n], lo, hi), units.get(n, 1))
        for n, lo, hi in region.ranges
        if n in given
    }
    most = max_executables // count_given(given, max_executables)
    free = {
        n: _in_units(lo, hi, most, edges.get(n, ()), units.get(n, 1))
        for n, lo, hi in region.ranges
        if n not in given and n not in region.open and hi is not None
    }
    ladders: dict[str, tuple[int, ...] | None] = dict.fromkeys(region.names)
    ladders |= _picked(free, most)
    ladders |= given
    begin = tuple(sorted((starts or {}).items()))
    ends = _ends(ladders, region)
    return Ladders(
        tuple(sorted(ladders.items())), frozenset(edges), ends, begin, tuple(sorted(units.items()))
    )


def count_given(given: Mapping[str, tuple[int, ...]], max_executables: int) -> int:
    """How many buckets the user's ladders make.

    Raises:
      SpecError: more than ``max_executables``.
    """
    count = math.prod(map(len, given.values()))
    if count > max_executables:
        raise SpecError(
            f"buckets asks for {count} executables; max_executables is {max_executables}: "
            "give fewer sizes, or raise it"
        )
    return count


def extended(ladders: Ladders, region: Region, max_executables: int) -> Ladders:
    """Ladders with more symbols, for a part of a program that knows more sizes.

    The new symbols share what the others leave of ``max_executables``, or have 4 sizes, if that is
    more; one without an upper bound grows on demand.
    """
    before = dict(ladders.sizes)
    fixed = math.prod(len(ladder or ()) or 1 for ladder in before.values())
    most = max(_COMPUTED_SIZES, max_executables // fixed)
    new = {
        n: (max(lo, 1), None if n in region.open else hi)
        for n, lo, hi in region.ranges
        if n not in before
    }
    units = region.divisors
    free = {
        n: _in_units(lo, hi, most, (), units.get(n, 1))
        for n, (lo, hi) in new.items()
        if hi is not None
    }
    kept = {n: ladder for n, ladder in before.items() if n in region.names}
    sizes = {**dict.fromkeys(new), **kept, **_picked(free, most)}
    separate = ladders.separate & frozenset(kept)
    ends = _ends(sizes, region)
    units = {**dict(ladders.units), **units}
    return Ladders(
        tuple(sorted(sizes.items())), separate, ends, ladders.starts, tuple(sorted(units.items()))
    )


def _ends(
    ladders: Mapping[str, tuple[int, ...] | None], region: Region
) -> tuple[tuple[str, int], ...]:
    """The largest sizes of symbols that grow on demand, where they have one."""
    grow = [span for span in region.ranges if ladders.get(span[0], ()) is None]
    return tuple(
        (name, _whole([max(high, 1)], region.divisors.get(name, 1))[0])
        for name, _, high in grow
        if high is not None
    )


def _cut(ladder: tuple[int, ...], low: int, high: int | None) -> tuple[int, ...]:
    top = ladder[-1] if high is None else high
    return tuple(sorted({min(size, top) for size in ladder if size >= low} or {top}))


def _whole(ladder: Sequence[int], unit: int) -> tuple[int, ...]:
    """A ladder of multiples of ``unit`` that serves the same multiples; one of them, at least."""
    return tuple(sorted({max(size // unit, 1) * unit for size in ladder}))


def _in_units(low: int, high: int, most: int, edges: Sequence[int], unit: int) -> Spacings:
    """``_spaced`` for sizes that are multiples of ``unit``."""
    if unit == 1:
        return _spaced(low, high, most, edges)
    first, last = -(-low // unit), max(high // unit, 1)
    inner = sorted({edge // unit for edge in edges if first <= edge // unit < last})
    spaced = _spaced(min(first, last), last, most, inner)
    return tuple((ratio, tuple(size * unit for size in ladder)) for ratio, ladder in spaced)


def _picked(free: Mapping[str, Spacings], most: int) -> dict[str, tuple[int, ...]]:
    """A ladder for each symbol: ``most`` is split so that the expected work is least."""
    waste = [[ratio for ratio, _ in spacings] for spacings in free.values()]
    best = min(
        (
            counts
            for counts in itertools.product(*(range(1, len(ratios) + 1) for ratios in waste))
            if math.prod(counts) <= most
        ),
        key=lambda counts: (
            math.prod(ratios[k - 1] for ratios, k in zip(waste, counts, strict=True)),
            sum(counts),
        ),
    )
    return {n: free[n][count - 1][1] for n, count in zip(free, best, strict=True)}


def _spaced(low: int, high: int, most: int, edges: Sequence[int]) -> Spacings:
    """``_best``, with ladders that hold all the ``edges`` from where they may be long enough."""
    plain = _best(low, high, most)
    ends = [*edges, high]
    if not edges or len(ends) > most:
        return plain
    starts = [low, *(edge + 1 for edge in edges)]
    spans = list(zip(starts, ends, strict=True))
    # joined[k]: the best ladder of k more sizes than spans so far, and its sum of ratios
    joined: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for start, end in spans:
        parts = [(r * (end - start + 1), sizes) for r, sizes in _best(start, end, most)]
        longest = min(len(joined) + len(parts) - 1, most)
        joined = [
            min(
                (joined[k - p][0] + parts[p][0], joined[k - p][1] + parts[p][1])
                for p in range(len(parts))
                if 0 <= k - p < len(joined)
            )
            for k in range(longest)
        ]
    count = high - low + 1
    held = [(total / count, sizes) for total, sizes in joined]
    return (*plain[: len(spans) - 1], *held[: most - len(spans) + 1])


@functools.lru_cache(maxsize=1024)
def _best(low: int, high: int, most: int) -> Spacings:
    """(expected padded over true size, ladder) of at most 1, 2, ... ``most`` sizes for a range.

    Dynamic programme over candidate edges; true sizes are taken as evenly spread over the range,
    and each counts by its ratio of padded to true size. The largest size is always on the ladder.
    """
    edges = _candidates(low, high)
    upto = _harmonic(edges) - _harmonic(np.array([low - 1]))
    # cost[i, j]: sum of ratios of the sizes in (edges[i - 1], edges[j]] when padded to edges[j]
    start = np.concatenate([[0.0], upto])
    cost = edges[None, :] * (upto[None, :] - start[:, None])
    ascending = np.triu(np.ones((len(edges), len(edges)), bool), 1)
    last = np.where(ascending, cost[1:, :], np.inf)
    best, back = cost[0], list[np.ndarray]()
    out: list[tuple[float, tuple[int, ...]]]
    out = [(float(best[-1]) / (high - low + 1), (int(edges[-1]),))]
    for _ in range(min(most, len(edges)) - 1):
        total = best[:, None] + last
        choice = total.argmin(axis=0)
        improved = total[choice, np.arange(len(edges))]
        back.append(np.where(improved < best, choice, -1))
        best = np.minimum(best, improved)
        out.append((float(best[-1]) / (high - low + 1), _followed(edges, back)))
    return tuple(out)


def _harmonic(sizes: np.ndarray) -> np.ndarray:
    """1 + 1/2 + ... + 1/n of each size; by its asymptotic series (error < 1e-9) beyond 256."""
    table = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, 257))])
    n = np.maximum(sizes, 256).astype(np.float64)
    series = np.log(n) + np.euler_gamma + 1 / (2 * n) - 1 / (12 * n**2)
    return np.where(sizes <= 256, table[np.minimum(sizes, 256)], series)


def _followed(edges: np.ndarray, back: Sequence[np.ndarray]) -> tuple[int, ...]:
    """The ladder that choices of the edge before each edge lead to, from the largest down."""
    ladder, at = [int(edges[-1])], len(edges) - 1
    for step in reversed(back):
        if step[at] >= 0:
            at = int(step[at])
            ladder.append(int(edges[at]))
    return tuple(sorted(ladder))


def _candidates(low: int, high: int) -> np.ndarray:
    step = _ALIGN if high - low >= 4 * _ALIGN else 1
    while (high - low) // step > _MOST_EDGES:
        step *= 2
    inner = np.arange(-(-low // step) * step, high, step)
    return np.concatenate([inner[inner >= low], [high]]).astype(np.int64)
