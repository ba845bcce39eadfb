"""``sod2jax.check``: does a function give the same at every shape as under plain ``jax.jit``?"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.errors import SpecError, counted
from sod2jax.ir import dims
from sod2jax.ir.region import Region
from sod2jax.optimize import optimize
from sod2jax.optimized import OptimizedFunction
from sod2jax.options import Specs
from sod2jax.planning.exact import Exact

_UNBOUNDED = 64  # sizes tried where a symbol has no upper bound


@dataclasses.dataclass(frozen=True)
class LeafReport:
    """How one leaf of the result did, over all sizes tried.

    Attributes:
      name: where it stands in the result's tree.
      max_error: largest absolute difference from ``jax.jit``.
      max_relative: the same, relative to the largest magnitude in the array.
      wrong_at: sizes at which shape, dtype, or values (beyond the tolerance) differ, in a call or
        with poison in the padding.
      leaks_at: sizes at which poison in the padding changed a bit.
    """

    name: str
    max_error: float
    max_relative: float
    wrong_at: tuple[str, ...]
    leaks_at: tuple[str, ...]


@dataclasses.dataclass(frozen=True, repr=False)
class CheckReport:
    """How ``sod2jax.check`` ended; true if everything agrees, prints as a table.

    Attributes:
      sizes: the sizes tried.
      leaves: one entry per leaf of the result.
      recompiles: traces and compiles after every bucket was warm.
      exact_fallbacks: calls that ran through an exact-shape executable.
      symbols: for each size that was varied, where it stands, and from what to what.
    """

    sizes: tuple[str, ...]
    leaves: tuple[LeafReport, ...]
    recompiles: int
    exact_fallbacks: int
    symbols: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether everything agrees, in words."""
        equal = "equal to jax.jit" if self else "NOT equal to jax.jit"
        return f"{equal} at {len(self.sizes)} sizes"

    def __repr__(self) -> str:
        return f"CheckReport({self.verdict})"

    def __bool__(self) -> bool:
        wrong = any(leaf.wrong_at or leaf.leaks_at for leaf in self.leaves)
        return not wrong and self.recompiles == 0

    def __str__(self) -> str:
        head = ("output", "max error", "relative", "wrong at", "padding seen at")
        rows = [
            (
                leaf.name or "result",
                f"{leaf.max_error:.2e}",
                f"{leaf.max_relative:.2e}",
                _some(leaf.wrong_at),
                _some(leaf.leaks_at),
            )
            for leaf in self.leaves
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in (head, *rows)
        ]
        return "\n".join(
            [
                f"{self.verdict}; {self.recompiles} traces and compiles after warm-up, "
                f"{counted(self.exact_fallbacks, 'exact fallback')}",
                *(f"varied: {symbol}" for symbol in self.symbols),
                *(line.rstrip() for line in lines),
            ]
        )


def check(
    fun: Callable[..., Any],
    *args: Any,
    shapes: Specs = None,
    constraints: Sequence[str] = (),
    buckets: Mapping[str, Sequence[int]] | None = None,
    samples: int = 10,
    seed: int = 0,
    rtol: float = 1e-5,
    **kwargs: Any,
) -> CheckReport:
    """Runs a function at many shapes, with poison in the padding, against plain ``jax.jit``.

    Sizes: the smallest, the largest, every bucket and the size after it, and ``samples`` random
    ones, of the symbols in ``shapes``; what has no symbol keeps its size. A size without an upper
    bound is tried up to 64 more than its smallest. Inputs are drawn from the elements of the
    arguments given, so that indices stay valid. The report says which sizes were varied.

    Args:
      fun: a plain function, or one made by ``sod2jax.optimize`` (then leave out what it has). One
        without specs is checked in the sizes that its calls so far have shown to vary.
      *args: example arguments, at any size in range.
      shapes: as for ``sod2jax.optimize``.
      constraints: as for ``sod2jax.optimize``.
      buckets: as for ``sod2jax.optimize``.
      samples: how many random sizes to try.
      seed: of the sizes and the inputs.
      rtol: allowed difference of floats, relative to the largest magnitude in each array.
      **kwargs: example keyword arguments.

    Returns:
      A report that is false when anything differs.

    Raises:
      SpecError: no spec has a symbol, or the function runs with exact shapes.
    """
    optimized = fun
    if not isinstance(optimized, OptimizedFunction):
        optimized = optimize(fun, shapes=shapes, constraints=constraints, buckets=buckets)
    return optimized.passage.read(
        args, kwargs, lambda *a, **k: _checked(optimized, a, k, samples, seed, rtol)
    )


def _checked(
    optimized: OptimizedFunction,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    samples: int,
    seed: int,
    rtol: float,
) -> CheckReport:
    """Checks a function; the arguments are as its passage has them."""
    call = optimized.read(args, kwargs)
    choice, (regime, order) = optimized.planner.choose(call), optimized.planner.base(call)
    if isinstance(choice, Exact):
        raise SpecError(f"there is nothing to check: it runs with exact shapes: {choice.reason}")
    if not regime.symbols:
        raise SpecError(
            "there is nothing to check: no size varies. Name those that do, as in "
            "shapes=('n, 16',), or give a function made by sod2jax.optimize that was called at "
            "several sizes"
        )
    rng = np.random.default_rng(seed)
    ladders = dict(choice.specialisation.analysis.ladders.sizes)
    points = list(_points(regime.region, ladders, samples, rng))
    dynamic = dict(zip(order, regime.leaves, strict=True))
    inputs = [_inputs(args, kwargs, dynamic, point, rng) for point in points]
    report = _compare(optimized, points, inputs, rtol)
    return dataclasses.replace(report, symbols=tuple(_varied(regime.leaves, points)))


def _varied(leaves: Sequence[Leaf], points: Sequence[Mapping[str, int]]) -> Iterator[str]:
    """For each symbol, the first axis that has it, and the sizes between which it was tried."""
    for symbol in sorted(points[0]):
        axes = ((leaf.name, k, d) for leaf in leaves for k, d in enumerate(leaf.shape))
        name, axis, _ = next(each for each in axes if symbol in dims.symbols_of(each[2]))
        sizes = [point[symbol] for point in points]
        yield f"{symbol}, axis {axis} of '{name}', from {min(sizes)} to {max(sizes)}"


def _points(
    region: Region,
    ladders: Mapping[str, tuple[int, ...] | None],
    samples: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, int]]:
    """Sizes to try, each once: corners, bucket edges and their successors, random ones."""
    ends = {n: (lo, hi if hi is not None else lo + _UNBOUNDED) for n, lo, hi in region.ranges}
    edges = {
        n: sorted({lo, hi, *(e for size in ladders.get(n) or () for e in (size, size + 1))})
        for n, (lo, hi) in ends.items()
    }
    inside = {n: [e for e in edges[n] if ends[n][0] <= e <= ends[n][1]] for n in edges}
    corners = itertools.product(*((lo, hi) for lo, hi in ends.values()))
    longest = max(map(len, inside.values()))
    along = ([e[min(k, len(e) - 1)] for e in inside.values()] for k in range(longest))
    drawn = ([int(rng.integers(lo, hi + 1)) for lo, hi in ends.values()] for _ in range(samples))
    seen = set()
    for values in itertools.chain(corners, along, drawn):
        point = dict(zip(ends, map(int, values), strict=True))
        if tuple(values) not in seen and region.contains(point):
            seen.add(tuple(values))
            yield point


def _inputs(
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    leaves: Mapping[int, Leaf],
    sizes: Mapping[str, int],
    rng: np.random.Generator,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments like those given, at other sizes: elements are drawn from the ones there are."""
    shapes = {k: tuple(dims.evaluate(d, sizes) for d in leaf.shape) for k, leaf in leaves.items()}
    flat, tree = jax.tree.flatten((args, dict(kwargs)))
    drawn = [
        leaf
        if k not in shapes or shapes[k] == np.shape(leaf)
        else rng.choice(np.asarray(leaf).ravel(), size=shapes[k])
        for k, leaf in enumerate(flat)
    ]
    return jax.tree.unflatten(tree, drawn)


def _compare(
    optimized: OptimizedFunction,
    points: Sequence[Mapping[str, int]],
    inputs: Sequence[tuple[tuple[Any, ...], dict[str, Any]]],
    rtol: float,
) -> CheckReport:
    events = _events()
    # Bits are compared where the padding counts as unknown: calls rely on the zeros there.
    runs = (
        {"poison": False},
        {"poison": False, "foreign": True},
        {"poison": True, "foreign": True},
    )
    for a, k in inputs:
        jax.block_until_ready([optimized.run(a, k, **how) for how in runs[:2]])
    before, fallbacks = events.total(), optimized.stats().exact_fallbacks
    results = [[optimized.run(a, k, **how) for a, k in inputs] for how in runs]
    recompiles = events.total() - before
    labels = [", ".join(f"{n}={size}" for n, size in point.items()) for point in points]
    wanted = [optimized.exactly(a, k) for a, k in inputs]
    paths = jax.tree_util.tree_flatten_with_path(wanted[0])[0]
    by_leaf = [list(zip(*map(jax.tree.leaves, each), strict=True)) for each in (*results, wanted)]
    reports = [
        _leaf_report(
            jax.tree_util.keystr(path), labels, *(column[k] for column in by_leaf), rtol=rtol
        )
        for k, (path, _) in enumerate(paths)
    ]
    return CheckReport(
        tuple(labels), tuple(reports), recompiles, optimized.stats().exact_fallbacks - fallbacks
    )


def _leaf_report(
    name: str,
    labels: Sequence[str],
    called: Sequence[Any],
    clean: Sequence[Any],
    poisoned: Sequence[Any],
    wanted: Sequence[Any],
    *,
    rtol: float,
) -> LeafReport:
    pairs = zip(zip(called, poisoned, strict=True), wanted, strict=True)
    errors = [max(_errors(x, want) for x in seen) for seen, want in pairs]
    same = [
        np.asarray(_plain(x)).tobytes() == np.asarray(_plain(y)).tobytes()
        for x, y in zip(clean, poisoned, strict=True)
    ]
    return LeafReport(
        name=name,
        max_error=max(absolute for absolute, _ in errors),
        max_relative=max(relative for _, relative in errors),
        wrong_at=tuple(at for at, (_, e) in zip(labels, errors, strict=True) if not e <= rtol),
        leaks_at=tuple(at for at, equal in zip(labels, same, strict=True) if not equal),
    )


def _plain(array: Any) -> Any:
    """The array; of keys of random numbers, their bits."""
    is_keys = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return _compat.key_bits(array) if is_keys else array


def _errors(seen: Any, wanted: Any) -> tuple[float, float]:
    """(largest difference, the same over the largest magnitude); inf where types differ."""
    if (seen.shape, seen.dtype) != (wanted.shape, wanted.dtype):
        return np.inf, np.inf
    seen, wanted = map(_plain, (seen, wanted))
    if not jnp.issubdtype(wanted.dtype, np.inexact):
        equal = np.array_equal(np.asarray(seen), np.asarray(wanted))
        return (0.0, 0.0) if equal else (np.inf, np.inf)
    x, y = (np.asarray(v).astype(np.complex128) for v in (seen, wanted))
    settled = (x == y) | (np.isnan(x) & np.isnan(y))
    difference = np.where(settled, 0.0, np.abs(x - y))
    largest = np.max(difference, initial=0.0)
    if np.isnan(largest):
        return np.inf, np.inf
    scale = np.max(np.abs(y[np.isfinite(y)]), initial=0.0)
    return float(largest), float(largest / scale) if scale else float(largest)


@functools.cache
def _events() -> collections.Counter[str]:
    counts: collections.Counter[str] = collections.Counter()

    def count(stage: str, seconds: float) -> None:
        del seconds
        counts[stage] += 1

    _compat.listen_for_compiles(count)
    return counts


def _some(sizes: Sequence[str]) -> str:
    shown = "; ".join(sizes[:3])
    return (shown + f"; {len(sizes) - 3} more" if len(sizes) > 3 else shown) or "-"
