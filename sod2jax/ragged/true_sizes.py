"""True sizes of padded arguments: from what the user passed to one vector per symbol."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sod2jax.arguments.signature import Leaf, is_linear
from sod2jax.errors import ShapeError, SpecError
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region
from sod2jax.ragged import arrays


@dataclasses.dataclass(frozen=True)
class GivenSizes:
    """Sizes of one dimension.

    Attributes:
      dim: the dimension.
      values: int32[B].
      source: where they come from, in the user's words.
    """

    dim: Dim
    values: Any
    source: str


def named_sizes(name: str, leaves: Sequence[Leaf], sizes: Any, count: int) -> list[GivenSizes]:
    """Reads the sizes that came with a padded argument.

    Args:
      name: of the argument.
      leaves: the arrays that they are for.
      sizes: int32[B], or a dictionary from dimension to int32[B].
      count: B.

    Raises:
      SpecError: the dictionary does not name the dimensions of the specs.
      ShapeError: not one integer for each row.
    """
    varying = {d for leaf in leaves for d in leaf.shape if dims.is_symbolic(d)}
    symbols = sorted({s for d in varying for s in dims.symbols_of(d)})
    if not isinstance(sizes, Mapping):
        if len(varying) != 1 and len(symbols) != 1:
            wanted = "{" + ", ".join(f"'{s}': ..." for s in symbols) + "}"
            raise SpecError(
                f"the sizes of '{name}' must be a dictionary {wanted}: its specs have the symbols "
                f"{symbols}"
                if symbols
                else f"'{name}' came with sizes, but its specs have no symbol: pass the array alone"
            )
        sizes = {str(next(iter(varying)) if len(varying) == 1 else symbols[0]): sizes}
    out = []
    for text, values in sizes.items():
        dim = dims.parse(text)
        if not dims.symbols_of(dim) or not dims.symbols_of(dim) <= set(symbols):
            raise SpecError(
                f"the sizes of '{name}' name '{text}', but the symbols of its specs are {symbols}"
            )
        source = f"the sizes of '{name}'"
        out.append(GivenSizes(dim, _vector(values, count, f"{source} for '{text}'"), source))
    return out


def _vector(values: Any, count: int, what: str) -> Any:
    values = values if arrays.is_traced(values) else np.asarray(values)
    if values.shape != (count,) or not jnp.issubdtype(values.dtype, jnp.integer):
        raise ShapeError(
            f"{what} must be int32[{count}], one for each row; got "
            f"{values.dtype}{list(values.shape)}"
        )
    # As far from any size of an array as what 32 bits do not hold.
    module, ends = jnp if arrays.is_traced(values) else np, jnp.iinfo(values.dtype)
    low, high = max(int(ends.min), -(1 << 31)), min(int(ends.max), (1 << 31) - 1)
    return module.clip(values, low, high).astype(np.int32)


def solve(given: Sequence[GivenSizes], leaves: Sequence[Leaf]) -> dict[str, Any]:
    """int32[B] for each symbol.

    Raises:
      SpecError: the sizes of some symbol are missing.
    """
    sizes: dict[str, Any] = {}
    while (solvable := _next_solvable(given, sizes)) is not None:
        entry, symbol = solvable
        zero = dims.evaluate(entry.dim, {**sizes, symbol: 0})
        slope = dims.evaluate(entry.dim, {**sizes, symbol: 1}) - zero
        sizes[symbol] = (entry.values - zero) // slope
    for leaf in leaves:
        for dim in leaf.shape:
            for symbol in sorted(dims.symbols_of(dim) - set(sizes)):
                raise SpecError(
                    f"'{leaf.name}' needs the sizes of '{symbol}': pass sod2jax.Ragged(padded, "
                    f"{{'{symbol}': int32[B]}}), or a list of examples"
                )
    return sizes


def _next_solvable(
    given: Sequence[GivenSizes], sizes: Mapping[str, Any]
) -> tuple[GivenSizes, str] | None:
    """The shortest dimension that is linear in its only unknown symbol, and that symbol."""
    for entry in sorted(given, key=lambda entry: len(str(entry.dim))):
        unknown = dims.symbols_of(entry.dim) - set(sizes)
        if len(unknown) == 1:
            (symbol,) = unknown
            if is_linear(entry.dim, symbol):
                return entry, symbol
    return None


def most(leaves: Sequence[Leaf], region: Region) -> dict[str, int]:
    """The largest size of each symbol that fits into padded arrays and region.

    Raises:
      SpecError: no axis of the padded arrays bounds a symbol.
    """
    out = {}
    for name, _, high in region.ranges:
        axes = [
            (dim, size)
            for leaf in leaves
            for dim, size in zip(leaf.shape, leaf.aval.shape, strict=True)
            if dims.symbols_of(dim) == {name}
        ]
        bounds = [
            size if dim == dims.symbol(name) else _fitting(dim, name, size) for dim, size in axes
        ]
        if not bounds and high is None:
            raise SpecError(f"nothing bounds '{name}': write constraints=('{name} <= 512',)")
        out[name] = min([*bounds, *([] if high is None else [high])])
    return out


def _fitting(dim: Dim, name: str, size: int) -> int:
    """The largest size up to ``size`` of a symbol that keeps a dimension within ``size``."""
    if dim == dims.symbol(name):
        return size
    tried = np.arange(1, size + 1)
    fits = tried[np.asarray(dims.evaluate(dim, {name: tried})) <= size]
    return int(fits.max()) if fits.size else 0


@functools.lru_cache(maxsize=1024)
def largest(region: Region) -> dict[str, int] | None:
    """A point of a bounded region, as large as possible; None if there is none."""
    names = region.names
    ends = [range(high or low, low - 1, -1) for _, low, high in region.ranges]
    inner = np.array(ends.pop()) if ends else np.zeros(1, np.int64)
    for outer in itertools.product(*ends):
        at = dict(zip(names, (*outer, inner), strict=bool(names)))
        holds = [np.broadcast_to(c.holds(at), inner.shape) for c in region.constraints]
        inside = np.flatnonzero(np.logical_and.reduce(holds, axis=0)) if holds else np.arange(1)
        if inner.size and inside.size:
            return dict(zip(names, (*outer, int(inner[inside[0]])), strict=bool(names)))
    return None


def consistent(
    sizes: Mapping[str, Any], given: Sequence[GivenSizes], leaves: Sequence[Leaf], count: int
) -> tuple[Any, str | None]:
    """Whether the sizes of a row agree with each other and fit into the padded arrays.

    Returns:
      (bool[B], what the first bad row breaks; None if all is well or sizes are traced).
    """
    checks: list[tuple[Any, Callable[[int], str]]] = []
    for entry in given:
        holds = dims.evaluate(entry.dim, sizes) == entry.values
        checks.append((holds, functools.partial(_disagree, entry)))
    for name, values in sizes.items():
        checks.append((values >= 0, functools.partial(_negative, name, sizes)))
    for leaf in leaves:
        for axis, (dim, size) in enumerate(zip(leaf.shape, leaf.aval.shape, strict=True)):
            if dims.is_symbolic(dim):
                holds = dims.evaluate(dim, sizes) <= size
                checks.append((holds, functools.partial(_too_large, leaf, axis, dim, sizes)))
    masks = [np.broadcast_to(c, (count,)) if not arrays.is_traced(c) else c for c, _ in checks]
    for mask, (_, explain) in zip(masks, checks, strict=True):
        if not arrays.is_traced(mask) and not mask.all():
            return mask, explain(int(np.argmin(mask)))
    return functools.reduce(lambda a, b: a & b, masks, np.ones(count, bool)), None


def _negative(name: str, sizes: Mapping[str, Any], row: int) -> str:
    return f"the size of '{name}' is {sizes[name][row]} in row {row}"


def _disagree(entry: GivenSizes, row: int) -> str:
    value = int(entry.values[row])
    if dims.symbols_of(entry.dim) == {str(entry.dim)}:
        return f"{entry.source} make '{entry.dim}' {value} in row {row}, but others disagree"
    return f"{entry.source} make '{entry.dim}' {value} in row {row}, which no size gives"


def _too_large(leaf: Leaf, axis: int, dim: Dim, sizes: Mapping[str, Any], row: int) -> str:
    at = {name: int(values[row]) for name, values in sizes.items() if not arrays.is_traced(values)}
    return (
        f"row {row} of '{leaf.name}' has {dims.evaluate(dim, at)} lanes on axis {axis} ('{dim}') "
        f"by its sizes, but the padded array has {leaf.aval.shape[axis]}"
    )
