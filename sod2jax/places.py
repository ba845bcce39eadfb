"""Where the arrays of a program lie: on devices, and divided among them along which axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import sympy
from jax.sharding import NamedSharding

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim


@dataclasses.dataclass(frozen=True, repr=False)
class Places:
    """Where the arrays of a call lie, and where its results are wanted.

    Attributes:
      inputs: of each array of the call, in the order of the program's inputs; None where it goes
        wherever the program runs.
      results: a prefix of the result's tree, as ``out_shardings`` of ``jax.jit``; None where it
        is XLA that decides.
      mesh: what ``jax.set_mesh`` said around the call.
      device: where everything lies, if that is one device that was named.
    """

    inputs: tuple[Any, ...] = ()
    results: Any = dataclasses.field(default=None, compare=False)
    mesh: Any = None
    device: Any = dataclasses.field(default=None, compare=False)

    @property
    def all(self) -> Iterator[Any]:
        """Those that are known."""
        yield from (place for place in self.inputs if place is not None)
        yield from jax.tree.leaves(self.results)

    @property
    def is_usual(self) -> bool:
        """Whether everything runs as it does where nobody placed an array."""
        return self.mesh is None and not any(True for _ in self.all)

    @property
    def devices(self) -> tuple[Any, ...]:
        """The devices that the program runs on; none if nothing says which."""
        named = (found for place in self.all if (found := _compat.devices_of(place)))
        return next(named, () if self.mesh is None else tuple(self.mesh.devices.flat))

    @property
    def automatic(self) -> Places:
        """The same, as a program says it whose types name no shardings."""
        results = jax.tree.map(_compat.automatic, self.results)
        return dataclasses.replace(
            self, inputs=tuple(map(_compat.automatic, self.inputs)), results=results
        )

    @property
    def explicit_mesh(self) -> Any:
        """The mesh that makes shardings part of types; None if none does."""
        named = (place.mesh for place in self.all if isinstance(place, NamedSharding))
        return next((mesh for mesh in named if _compat.is_explicit(mesh)), None)

    def with_types(self, tree: Any, types: Sequence[Any]) -> Places:
        """These, with results where their types say, unless that was asked for otherwise."""
        mesh = self.explicit_mesh
        if self.results is not None or mesh is None:
            return self
        places = [None if place is None else _compat.on_mesh(place, mesh) for place in types]
        return dataclasses.replace(self, results=jax.tree.unflatten(tree, places))

    def of_inputs(self, count: int) -> tuple[Any, ...]:
        """The places of the ``count`` inputs of a program, which may have more than the call."""
        other = None if self.device is None else _compat.whole_on((self.device,))
        known = [other if place is None else place for place in self.inputs]
        return (*known, *[other] * (count - len(known)))

    @property
    def of_parts(self) -> Places:
        """Those of a program in parts, which take other inputs and return other results."""
        return dataclasses.replace(self, inputs=(), results=None)

    def of_results(self, tree: Any) -> tuple[Any, ...]:
        """The wanted place of each result; None where XLA decides."""
        if self.results is None:
            return (None,) * tree.num_leaves
        wanted = jax.tree.map(_Wanted, self.results, is_leaf=lambda x: x is None)
        full = jax.tree.unflatten(tree, range(tree.num_leaves))
        return tuple(each.place for each in jax.tree.leaves(jax.tree.broadcast(wanted, full)))

    def __repr__(self) -> str:
        placed = sum(place is not None for place in self.inputs)
        return f"Places({placed} of {len(self.inputs)} inputs, {len(self.devices)} devices)"


ANYWHERE = Places()
"""Of a program that runs on the default device."""


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """A leaf of its own, also where there is no place."""

    place: Any


def divisions(
    place: Any, shape: Sequence[Dim], known: Mapping[str, int]
) -> tuple[Comparison, ...] | None:
    """What the sizes of an array must satisfy to lie in a place; None where it cannot be said.

    Args:
      place: a sharding.
      shape: of the array.
      known: what sizes are multiples of already, by symbol.
    """
    made = []
    for dim, parts in zip(shape, _compat.parts_along(place, len(shape)), strict=True):
        if parts == 1 or is_multiple(dim, parts, known):
            continue
        slope, rest = (dim, 1) if isinstance(dim, int) else dim.as_coeff_Mul()
        if not isinstance(rest, sympy.Symbol):
            return None
        unit = parts // math.gcd(parts, int(slope))
        remainder: Any = dims.mod(rest, sympy.Integer(unit))
        made.append(Comparison.of(remainder, "==", 0))
    return tuple(made)


def is_multiple(dim: Dim, count: int, known: Mapping[str, int]) -> bool:
    """Whether a size is a multiple of a number, given what its symbols are multiples of."""
    if isinstance(dim, int):
        return dim % count == 0
    return all(math.prod(_factors(term, known)) % count == 0 for term in sympy.Add.make_args(dim))


def _factors(term: Any, known: Mapping[str, int]) -> Iterator[int]:
    """Whole numbers whose product divides a term."""
    for factor in sympy.Mul.make_args(term):
        base: Any = factor.as_base_exp()[0]
        power = factor.as_base_exp()[1]
        if factor.is_Integer:
            yield int(factor)
        elif base.is_Symbol and power.is_Integer and power.is_positive:
            yield known.get(base.name, 1) ** int(power)


def fits(place: Any, shape: Sequence[int]) -> bool:
    """Whether a place divides the axes of an array evenly, and knows as many."""
    try:
        place.check_compatible_aval(tuple(shape))
        place.shard_shape(tuple(shape))
    except ValueError:
        return False
    return True


def nearest(place: Any, shape: Sequence[int]) -> Any:
    """The place itself, or with those axes undivided that it cannot divide evenly."""
    if fits(place, shape):
        return place
    parts = _compat.parts_along(place, len(shape))
    pairs = enumerate(zip(shape, parts, strict=True))
    return _compat.undivided(place, [k for k, (size, count) in pairs if size % count])
